//! A query's results as batches of columns.

use std::sync::Arc;
use std::time::Duration;

use silverback::query::result::{Cell, ResultSink, SeriesHeader, StopFlag, Stopped};
use silverback_protos::v1;
use silverback_protos::v1::query_response::Piece;
use silverback_protos::v1::result_column::Values;
use silverback_protos::v1::value::Kind;
use silverback_protos::v1::{QueryResponse, ResultColumn, RowBatch, StatementEnd, Value};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendTimeoutError;
use tonic::Status;

/// How long a reader may stand still before its query is stopped.
const READER_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a query that waits for its reader looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Takes a query's results and sends them by batches of rows.
#[derive(Debug)]
pub(super) struct Results {
    sender: Sender<Result<QueryResponse, Status>>,
    stop: Arc<StopFlag>,
    /// A piece was lost: nothing but the failure may follow it.
    is_broken: bool,
    runtime: Handle,
    batch_rows: usize,
    statement_id: u32,
    columns: Vec<Vec<Cell>>,
    rows: usize,
    warnings: Vec<String>,
}

impl Results {
    /// Sends to `sender`, at most `batch_rows` rows at a time, until `stop` says otherwise.
    pub(super) fn new(
        sender: Sender<Result<QueryResponse, Status>>,
        stop: Arc<StopFlag>,
        batch_rows: usize,
    ) -> Results {
        Results {
            sender,
            stop,
            is_broken: false,
            runtime: Handle::current(),
            batch_rows,
            statement_id: 0,
            columns: Vec::new(),
            rows: 0,
            warnings: Vec::new(),
        }
    }

    /// Sends a failure of the whole query.
    pub(super) fn fail(self, status: Status) {
        // Whoever left needs no answer.
        let sent = self.sender.send_timeout(Err(status), READER_PAUSE_MAX);
        drop(self.runtime.block_on(sent));
    }

    fn send(&mut self, piece: Piece) -> Result<(), Stopped> {
        if self.is_broken {
            return Err(Stopped);
        }
        let sent = self.hand_over(piece);
        self.is_broken = sent.is_err();
        sent
    }

    /// Waits for the reader, but no longer than the query may run.
    fn hand_over(&self, piece: Piece) -> Result<(), Stopped> {
        let response = QueryResponse {
            statement_id: self.statement_id,
            piece: Some(piece),
        };
        let mut response = Ok(response);
        for _ in 0..READER_PAUSE_MAX.as_millis() / STOP_LOOK.as_millis() {
            let sent = self.sender.send_timeout(response, STOP_LOOK);
            response = match self.runtime.block_on(sent) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Closed(_)) => return Err(Stopped),
                Err(SendTimeoutError::Timeout(response)) => response,
            };
            self.stop.check().map_err(|_| Stopped)?;
        }
        Err(Stopped)
    }

    fn send_rows(&mut self) -> Result<(), Stopped> {
        if self.rows == 0 {
            return Ok(());
        }
        let row_count = u32::try_from(self.rows).expect("a batch has fewer rows than its limit");
        let columns = self.columns.iter_mut().map(take_column).collect();
        self.rows = 0;
        self.send(Piece::Rows(RowBatch { row_count, columns }))
    }
}

impl ResultSink for Results {
    fn statement(&mut self, id: usize) -> Result<(), Stopped> {
        self.statement_id = u32::try_from(id).unwrap_or(u32::MAX);
        self.warnings.clear();
        Ok(())
    }

    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped> {
        self.send_rows()?;
        self.columns = vec![Vec::new(); header.columns.len()];
        let tags = header.tags.iter().flatten();
        let header = v1::SeriesHeader {
            name: header.name.as_deref().map(text).unwrap_or_default(),
            tags: tags.map(|(key, value)| (text(key), text(value))).collect(),
            columns: header.columns.iter().map(|name| text(name)).collect(),
        };
        self.send(Piece::Header(header))
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell.clone());
        }
        self.rows += 1;
        if self.rows >= self.batch_rows {
            self.send_rows()?;
        }
        Ok(())
    }

    fn message(&mut self, level: &str, text: &str) -> Result<(), Stopped> {
        self.warnings.push(format!("{level}: {text}"));
        Ok(())
    }

    fn end(&mut self, error: Option<&str>) -> Result<(), Stopped> {
        self.send_rows()?;
        let end = StatementEnd {
            error: error.unwrap_or_default().to_owned(),
            warnings: std::mem::take(&mut self.warnings),
        };
        self.send(Piece::End(end))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The column of `cells`, which are gone then.
fn take_column(cells: &mut Vec<Cell>) -> ResultColumn {
    let column = column(cells);
    cells.clear();
    column
}

/// One column: typed where all its values have one type.
fn column(cells: &[Cell]) -> ResultColumn {
    let presence = presence(cells);
    let present = || cells.iter().filter(|cell| **cell != Cell::Null);
    let same = present()
        .zip(present().skip(1))
        .all(|(left, right)| std::mem::discriminant(left) == std::mem::discriminant(right));
    /// The values of one type.
    macro_rules! values {
        ($variant:ident, $message:ident, $kind:path) => {{
            let value = |cell: &Cell| match cell {
                $kind(value) => Some(value.clone()),
                _ => None,
            };
            Values::$variant(v1::$message {
                values: present().filter_map(value).collect(),
            })
        }};
    }
    let values = match present().next() {
        None => None,
        Some(_) if !same => Some(mixed(cells)),
        Some(Cell::Time(_)) => Some(values!(Times, Times, Cell::Time)),
        Some(Cell::Float(_)) => Some(values!(Floats, Floats, Cell::Float)),
        Some(Cell::Integer(_)) => Some(values!(Integers, Integers, Cell::Integer)),
        Some(Cell::Unsigned(_)) => Some(values!(Unsigneds, Unsigneds, Cell::Unsigned)),
        Some(Cell::Boolean(_)) => Some(values!(Booleans, Booleans, Cell::Boolean)),
        Some(Cell::Null | Cell::String(_) | Cell::Strings(_)) => {
            let values = present().map(bytes).collect();
            Some(Values::Strings(v1::Strings { values }))
        }
    };
    ResultColumn { presence, values }
}

/// A bit for each row; nothing where all have a value.
fn presence(cells: &[Cell]) -> Vec<u8> {
    if cells.iter().all(|cell| *cell != Cell::Null) {
        return Vec::new();
    }
    let byte = |chunk: &[Cell]| {
        let bits = chunk.iter().enumerate();
        bits.fold(0, |byte, (index, cell)| {
            byte | u8::from(*cell != Cell::Null) << index
        })
    };
    cells.chunks(8).map(byte).collect()
}

fn mixed(cells: &[Cell]) -> Values {
    let kind = |cell: &Cell| {
        Some(match cell {
            Cell::Null => return None,
            Cell::Time(time) => Kind::Time(*time),
            Cell::Float(float) => Kind::Float(*float),
            Cell::Integer(integer) => Kind::Integer(*integer),
            Cell::Unsigned(unsigned) => Kind::Unsigned(*unsigned),
            Cell::Boolean(boolean) => Kind::Boolean(*boolean),
            Cell::String(_) | Cell::Strings(_) => Kind::String(bytes(cell)),
        })
    };
    let values = cells
        .iter()
        .filter_map(kind)
        .map(|kind| Value { kind: Some(kind) });
    Values::Mixed(v1::Mixed {
        values: values.collect(),
    })
}

/// A string cell's bytes; several strings are joined by commas.
fn bytes(cell: &Cell) -> Vec<u8> {
    match cell {
        Cell::String(string) => string.to_vec(),
        Cell::Strings(strings) => strings.join(&b','),
        Cell::Null
        | Cell::Time(_)
        | Cell::Float(_)
        | Cell::Integer(_)
        | Cell::Unsigned(_)
        | Cell::Boolean(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_one_type_is_typed_and_its_holes_are_bits() {
        let column = column(&[Cell::Integer(1), Cell::Null, Cell::Integer(3)]);
        assert_eq!(column.presence, [0b101]);
        assert_eq!(
            column.values,
            Some(Values::Integers(v1::Integers { values: vec![1, 3] }))
        );
    }

    #[test]
    fn a_column_of_several_types_keeps_each() {
        let column = column(&[
            Cell::Float(0.5),
            Cell::Unsigned(u64::MAX),
            Cell::string("x"),
        ]);
        let Some(Values::Mixed(mixed)) = column.values else {
            panic!("{column:?}");
        };
        let kinds: Vec<Kind> = mixed
            .values
            .into_iter()
            .filter_map(|value| value.kind)
            .collect();
        let string = Kind::String(b"x".to_vec());
        assert_eq!(kinds, [Kind::Float(0.5), Kind::Unsigned(u64::MAX), string]);
        assert!(column.presence.is_empty());
    }
}
