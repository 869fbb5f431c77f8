//! Forms as `multipart/form-data`: few clients send them, and a file named `q` is a query.

use memchr::memmem;

use crate::http::reply::Refusal;

/// Parts of a form at most.
const PARTS_MAX: usize = 64;

/// Name and value of each part of `body`.
///
/// # Errors
/// 400 where the body is none.
///
/// # Source
/// RFC 7578 and RFC 2046, 5.1.
pub(super) fn parts(content_type: &str, body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    read(content_type, body).ok_or_else(|| Refusal::invalid("malformed multipart form"))
}

fn read(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let boundary = attribute(content_type, "boundary")?;
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).or_else(|| {
        let at = memmem::find(body, between.as_bytes())?;
        body.get(at + between.len()..)
    })?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let end = memmem::find(rest, between.as_bytes())?;
        let part = rest.get(..end)?.strip_prefix(b"\r\n")?;
        let headers_end = memmem::find(part, b"\r\n\r\n")?;
        let headers = std::str::from_utf8(part.get(..headers_end)?).ok()?;
        let value = String::from_utf8_lossy(part.get(headers_end + 4..)?).into_owned();
        let disposition = headers.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-disposition")
                .then_some(value)
        })?;
        parts.push((attribute(disposition, "name")?, value));
        rest = rest.get(end + between.len()..)?;
        if parts.len() > PARTS_MAX {
            return None;
        }
    }
    Some(parts)
}

/// The value of `name` among the attributes behind a header's value.
fn attribute(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|pair| {
        let (own, value) = pair.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        (own.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"xyz\"";

    #[test]
    fn fields_and_files_are_values() {
        let body = b"--xyz\r\nContent-Disposition: form-data; name=\"db\"\r\n\r\nd b\r\n\
            --xyz\r\ncontent-disposition: form-data; name=\"q\"; filename=\"f\"\r\n\
            Content-Type: text/plain\r\n\r\nSHOW\r\nDATABASES\r\n--xyz--\r\n";
        let parts = parts(TYPE, body).unwrap();
        let expected = [("db", "d b"), ("q", "SHOW\r\nDATABASES")];
        assert_eq!(
            parts,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let body = b"--xyz\r\nContent-Disposition: form-data; name=\"db\"\r\n\r\nd\r\n--xyz--";
        assert!(parts(TYPE, body).is_ok());
        for cut in 0..body.len() - 1 {
            assert!(parts(TYPE, &body[..cut]).is_err(), "{cut}");
        }
        assert!(parts("multipart/form-data", body).is_err());
    }
}
