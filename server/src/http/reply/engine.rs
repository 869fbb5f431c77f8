//! The engine's errors as refusals: a status by what the caller does next.

use axum::http::StatusCode;
use silverback::storage::{Error, ErrorKind};

use super::Refusal;

/// When a client comes back, in seconds.
const DISK_FULL_RETRY_S: u32 = 10;
const BUSY_RETRY_S: u32 = 1;

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Refusal {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Invalid => Refusal::invalid(text),
            // InfluxDB answers 500 for a policy, and clients look for the words.
            ErrorKind::NotFound if error.message().starts_with("retention policy") => {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.message())
            }
            ErrorKind::NotFound => Refusal::new(StatusCode::NOT_FOUND, error.message()),
            ErrorKind::Conflict => Refusal::new(StatusCode::CONFLICT, text),
            ErrorKind::Busy => Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, BUSY_RETRY_S),
            ErrorKind::Limit => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            ErrorKind::NoSpace => {
                let hint = "free space on the disk of the data directory: writes come back then";
                let status = StatusCode::INSUFFICIENT_STORAGE;
                Refusal::later(status, text, DISK_FULL_RETRY_S).hint(hint)
            }
            ErrorKind::Closed => {
                Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, DISK_FULL_RETRY_S)
            }
            ErrorKind::Io | ErrorKind::Corrupt | _ => {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_status_that_makes_the_right_client_come_back() {
        let status = |kind| Refusal::from(Error::new(kind, "x")).status().as_u16();
        assert_eq!(status(ErrorKind::Invalid), 400);
        assert_eq!(status(ErrorKind::NotFound), 404);
        assert_eq!(status(ErrorKind::Busy), 503);
        assert_eq!(status(ErrorKind::NoSpace), 507);
        assert_eq!(status(ErrorKind::Io), 500);
        let policy = Error::new(ErrorKind::NotFound, "retention policy not found: x");
        assert_eq!(Refusal::from(policy).status(), 500);
    }
}
