//! The engine's errors as gRPC's codes: by what the caller does next.

use silverback::query::result::{QueryError, QueryErrorKind};
use silverback::storage::{Error, ErrorKind};
use tonic::{Code, Status};

/// The status of an engine's error.
pub(super) fn of(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::Busy | ErrorKind::Closed => Code::Unavailable,
        ErrorKind::Limit | ErrorKind::NoSpace => Code::ResourceExhausted,
        ErrorKind::Corrupt => Code::DataLoss,
        // After a failed sync nobody knows whether the write is there.
        ErrorKind::Io | _ => Code::Unknown,
    };
    Status::new(code, error.to_string())
}

/// The status of a query's error.
pub(super) fn of_query(error: &QueryError) -> Status {
    let code = match error.kind() {
        QueryErrorKind::Parse | QueryErrorKind::Statement => Code::InvalidArgument,
        QueryErrorKind::Limit => Code::ResourceExhausted,
        QueryErrorKind::Timeout => Code::DeadlineExceeded,
        QueryErrorKind::Interrupted => Code::Cancelled,
        QueryErrorKind::Storage | _ => Code::Internal,
    };
    Status::new(code, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_code_that_makes_the_right_client_come_back() {
        let code = |kind| of(&Error::new(kind, "x")).code();
        assert_eq!(code(ErrorKind::NoSpace), Code::ResourceExhausted);
        assert_eq!(code(ErrorKind::Busy), Code::Unavailable);
        assert_eq!(code(ErrorKind::Corrupt), Code::DataLoss);
        assert_eq!(code(ErrorKind::NotFound), Code::NotFound);
        assert_eq!(code(ErrorKind::Invalid), Code::InvalidArgument);
    }
}
