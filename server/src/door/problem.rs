//! What is wrong with stored bytes, as one sentence for people.

use silverback::storage::db::Problem;

/// The problem with its file, which its message may name already.
pub(crate) fn sentence(problem: &Problem) -> String {
    let file = problem.file.as_ref().map(|file| file.display().to_string());
    match file {
        Some(file) if !problem.message.contains(&file) => {
            format!("{} ({file} at byte {})", problem.message, problem.offset)
        }
        Some(_) | None => problem.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_once() {
        let problem = |message: &str| Problem {
            message: message.to_owned(),
            file: Some("wal/1.wal".into()),
            offset: 512,
        };
        assert_eq!(
            sentence(&problem("it is damaged")),
            "it is damaged (wal/1.wal at byte 512)"
        );
        assert_eq!(
            sentence(&problem("read wal/1.wal: no")),
            "read wal/1.wal: no"
        );
    }
}
