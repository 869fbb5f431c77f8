//! The engine's errors as gRPC's codes: by what the caller does next.

use prost::Message as _;
use silverback::query::result::{QueryError, QueryErrorKind};
use silverback::storage::{Error, ErrorKind};
use tonic::{Code, Status};

/// When a client comes back.
const BUSY_RETRY_S: i64 = 1;
const DISK_FULL_RETRY_S: i64 = 10;

/// `google.rpc.Status`, as far as it is written here.
///
/// # Source
/// `google/rpc/status.proto` and `error_details.proto`: the trailer `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    more: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// The status of an engine's error.
pub(super) fn of(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::Busy => return later(error, BUSY_RETRY_S),
        ErrorKind::NoSpace => return later(error, DISK_FULL_RETRY_S),
        ErrorKind::Closed => Code::Unavailable,
        ErrorKind::Limit => Code::ResourceExhausted,
        ErrorKind::Corrupt => Code::DataLoss,
        // After a failed sync nobody knows whether the write is there.
        ErrorKind::Io | _ => Code::Unknown,
    };
    Status::new(code, error.to_string())
}

/// Something is used up that comes back: only with the time to come back in do clients repeat it.
fn later(error: &Error, seconds: i64) -> Status {
    let (code, message) = (Code::ResourceExhausted, error.to_string());
    let delay = Some(Delay { seconds });
    let details = Details {
        code: code.into(),
        message: message.clone(),
        more: vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo { delay }.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// When to come back, in seconds; 0 where the status does not say.
pub(super) fn retry_after_s(status: &Status) -> u32 {
    let details = Details::decode(status.details()).unwrap_or_default();
    let info = details.more.first();
    let info = info.and_then(|any| RetryInfo::decode(&any.value[..]).ok());
    let seconds = info
        .and_then(|info| info.delay)
        .map_or(0, |delay| delay.seconds);
    u32::try_from(seconds).unwrap_or(0)
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
        assert_eq!(code(ErrorKind::Busy), Code::ResourceExhausted);
        assert_eq!(code(ErrorKind::Limit), Code::ResourceExhausted);
        let retry = |kind| retry_after_s(&of(&Error::new(kind, "x")));
        assert_eq!(retry(ErrorKind::Busy), 1);
        assert_eq!(retry(ErrorKind::NoSpace), 10);
        assert_eq!(retry(ErrorKind::Limit), 0, "it is not to be repeated");
        assert_eq!(code(ErrorKind::Corrupt), Code::DataLoss);
        assert_eq!(code(ErrorKind::NotFound), Code::NotFound);
        assert_eq!(code(ErrorKind::Invalid), Code::InvalidArgument);
    }
}
