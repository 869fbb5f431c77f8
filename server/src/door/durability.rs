//! How safe a write must be, and was made, in the words of requests and answers.

use silverback::storage::db::Durability;

const NAMES: [(&str, Durability); 3] = [
    ("disk", Durability::Disk),
    ("buffered", Durability::Buffered),
    ("memory", Durability::Memory),
];

/// What `name` asks for; the disk where it is absent or empty.
///
/// # Errors
/// What to say where it is none.
pub(crate) fn read(name: Option<&str>) -> Result<Durability, String> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("disk");
    let found = NAMES.into_iter().find(|(own, _)| *own == name);
    found
        .map(|(_, durability)| durability)
        .ok_or_else(|| format!("invalid durability \"{name}\" (use disk, buffered or memory)"))
}

/// Its name.
pub(crate) fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Disk => "disk",
        Durability::Buffered => "buffered",
        Durability::Memory => "memory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_nothing_else_is() {
        for (text, durability) in NAMES {
            assert_eq!(read(Some(text)), Ok(durability));
            assert_eq!(name(durability), text);
        }
        assert_eq!(read(None), Ok(Durability::Disk));
        assert_eq!(read(Some("")), Ok(Durability::Disk));
        assert_eq!(
            read(Some("Disk")).unwrap_err(),
            "invalid durability \"Disk\" (use disk, buffered or memory)"
        );
    }
}
