//! The queries that run, by number: so that they can be listed and stopped by other queries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::result::{QueryError, QueryOptions, StopFlag};

/// The queries of a store that run now.
#[derive(Debug, Default)]
pub struct RunningQueries {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    queries: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    text: Box<str>,
    database: Box<str>,
    began_ns: i64,
    stop: Arc<StopFlag>,
}

/// A query as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningQuery {
    /// Its number, never given again.
    pub id: u64,
    /// Its statements as they were read, secrets left out.
    pub text: Box<str>,
    /// The database it was asked of; empty where none was named.
    pub database: Box<str>,
    /// What `now()` was for it, ns UTC.
    pub began_ns: i64,
    /// Whether it was told to stop.
    pub is_stopped: bool,
}

/// A query that is listed as long as this lives.
#[derive(Debug)]
pub struct Entered<'list> {
    list: &'list RunningQueries,
    id: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.list.state().queries.remove(&self.id);
    }
}

impl RunningQueries {
    /// Lists a query until what is returned is dropped.
    pub fn enter(&self, text: String, options: &QueryOptions) -> Entered<'_> {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        let query = Running {
            text: text.into(),
            database: options.database.clone().unwrap_or_default(),
            began_ns: options.now_ns,
            stop: Arc::clone(&options.stop),
        };
        state.queries.insert(id, query);
        drop(state);
        Entered { list: self, id }
    }

    /// The queries that run, by number.
    pub fn list(&self) -> Vec<RunningQuery> {
        let state = self.state();
        let queries = state.queries.iter().map(|(id, query)| RunningQuery {
            id: *id,
            text: query.text.clone(),
            database: query.database.clone(),
            began_ns: query.began_ns,
            is_stopped: query.stop.check().is_err(),
        });
        queries.collect()
    }

    /// Stops a query; it ends at its next look, with `query interrupted`.
    ///
    /// # Errors
    /// `Statement`, in the words of `InfluxDB`: none of that number runs, or it was stopped already.
    pub fn kill(&self, id: u64) -> Result<(), QueryError> {
        let state = self.state();
        let Some(query) = state.queries.get(&id) else {
            return Err(QueryError::statement(format!("no such query id: {id}")));
        };
        if query.stop.check().is_err() {
            return Err(QueryError::statement("query already killed"));
        }
        query.stop.interrupt();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_listed_as_long_as_it_runs_and_stopped_once() {
        let running = RunningQueries::default();
        let options = QueryOptions {
            database: Some("db".into()),
            now_ns: 5,
            ..QueryOptions::default()
        };
        let first = running.enter("SELECT 1".into(), &options);
        let other = QueryOptions::default();
        let second = running.enter("SHOW QUERIES".into(), &other);
        let list = running.list();
        let shown: Vec<_> = list
            .iter()
            .map(|one| (one.id, &*one.text, &*one.database))
            .collect();
        assert_eq!(shown, [(1, "SELECT 1", "db"), (2, "SHOW QUERIES", "")]);
        running.kill(1).unwrap();
        assert!(options.stop.check().is_err() && other.stop.check().is_ok());
        assert!(running.list()[0].is_stopped && !running.list()[1].is_stopped);
        assert_eq!(
            running.kill(1).unwrap_err().message(),
            "query already killed"
        );
        drop((first, second));
        assert_eq!(running.list(), []);
        assert_eq!(
            running.kill(1).unwrap_err().message(),
            "no such query id: 1"
        );
        drop(running.enter(String::new(), &other));
        assert_eq!(running.state().last, 3, "numbers are not given again");
    }
}
