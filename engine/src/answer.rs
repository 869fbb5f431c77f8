//! An answer held whole, for callers that want it in hand rather than as a stream.

use silverback_query::result::{Cell, ResultSink, SeriesHeader, Stopped};
use silverback_storage::model::Tag;

/// The answers to the statements of a query, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One for each statement.
    pub statements: Vec<StatementAnswer>,
}

/// The answer to one statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementAnswer {
    /// The series; none where nothing matches.
    pub series: Vec<AnswerSeries>,
    /// Notes: level and text.
    pub messages: Vec<(String, String)>,
    /// What went wrong, if something did; then the series are not the whole answer.
    pub error: Option<String>,
}

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerSeries {
    /// The measurement, or what `SHOW` calls it.
    pub name: Option<Box<[u8]>>,
    /// The tags it is grouped by.
    pub tags: Vec<Tag>,
    /// The names of the columns; the first is `time` where there are times.
    pub columns: Vec<Box<[u8]>>,
    /// The rows, each with a cell for every column.
    pub rows: Vec<Vec<Cell>>,
}

/// Collects a stream of results.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) answer: Answer,
}

impl Collector {
    fn statement(&mut self) -> &mut StatementAnswer {
        self.answer
            .statements
            .last_mut()
            .expect("a statement begins before anything in it")
    }
}

impl ResultSink for Collector {
    fn statement(&mut self, _id: usize) -> Result<(), Stopped> {
        self.answer.statements.push(StatementAnswer::default());
        Ok(())
    }

    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped> {
        self.statement().series.push(AnswerSeries {
            name: header.name.clone(),
            tags: header.tags.clone().unwrap_or_default(),
            columns: header.columns.to_vec(),
            rows: Vec::new(),
        });
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped> {
        let series = self
            .statement()
            .series
            .last_mut()
            .expect("a series begins before its rows");
        series.rows.push(cells.to_vec());
        Ok(())
    }

    fn message(&mut self, level: &str, text: &str) -> Result<(), Stopped> {
        self.statement()
            .messages
            .push((level.to_owned(), text.to_owned()));
        Ok(())
    }

    fn end(&mut self, error: Option<&str>) -> Result<(), Stopped> {
        self.statement().error = error.map(str::to_owned);
        Ok(())
    }
}
