//! The small formats: edits of the manifest, definitions, tombstones, file headers, lists of backups.

use crate::format::backup::BackupList;
use crate::format::definitions::Definitions;
use crate::format::header::{FileHeader, FileKind};
use crate::format::manifest::{Edit, decode_payload};
use crate::format::tombstone::{decode_tombstone, encode_tombstone};
use crate::model::Sequence;

/// The first byte chooses the decoder, the rest is what it gets.
///
/// # Panics
/// If a decoder does, or if what it gives does not survive encoding.
pub fn fuzz_formats(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    match choice % 5 {
        0 => edits(bytes),
        1 => definitions(bytes),
        2 => tombstone(bytes),
        3 => header(bytes),
        _ => backup_list(bytes),
    }
}

fn edits(bytes: &[u8]) {
    let Ok(edits) = decode_payload(bytes) else {
        return;
    };
    let mut encoded = Vec::new();
    for edit in &edits {
        edit.encode(&mut encoded);
    }
    let mut rest = &encoded[..];
    for edit in &edits {
        assert_eq!(
            Edit::decode(&mut rest).as_ref().ok(),
            Some(edit),
            "edits come back"
        );
    }
}

fn definitions(bytes: &[u8]) {
    let Ok(decoded) = Definitions::decode(bytes) else {
        return;
    };
    let mut encoded = Vec::new();
    decoded.encode(&mut encoded);
    let again = Definitions::decode(&encoded);
    assert_eq!(again.ok(), Some(decoded), "definitions come back");
}

fn tombstone(mut bytes: &[u8]) {
    let Ok((database, decoded)) = decode_tombstone(&mut bytes, Sequence(7)) else {
        return;
    };
    let mut encoded = Vec::new();
    encode_tombstone(database, &decoded, &mut encoded);
    let again = decode_tombstone(&mut &encoded[..], Sequence(7));
    assert_eq!(
        again.ok(),
        Some((database, decoded)),
        "tombstones come back"
    );
}

fn backup_list(bytes: &[u8]) {
    let header = FileHeader::new(FileKind::Backup, 7, 3);
    if let Ok(list) = BackupList::decode(&header, bytes) {
        assert_eq!(list.encode(), bytes, "lists come back");
    }
}

fn header(bytes: &[u8]) {
    if let Ok(header) = FileHeader::decode(bytes) {
        let again = FileHeader::decode(&header.encode());
        assert_eq!(again.as_ref(), Ok(&header), "headers come back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::backup::BackupFile;
    use crate::model::DatabaseId;

    #[test]
    fn any_bytes_end_in_a_value_or_an_error() {
        let mut seed = 0x1234_5678_9abc_def0_u64;
        for length in 0..400_usize {
            for choice in 0..5 {
                let mut bytes = vec![choice];
                for _ in 0..length {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    // Small numbers go further than any others.
                    let byte = seed.to_le_bytes()[7];
                    bytes.push(if byte < 128 { byte % 8 } else { byte });
                }
                fuzz_formats(&bytes);
            }
        }
    }

    #[test]
    fn a_changed_record_ends_in_a_value_or_an_error() {
        let definitions = Definitions {
            database: DatabaseId(3),
            names: crate::format::definitions::Names::default(),
            series: Vec::new(),
        };
        let mut sound = vec![1];
        definitions.encode(&mut sound);
        let file = |kind, file_id| BackupFile {
            kind,
            file_id,
            size_bytes: 100,
            checksum: 5,
        };
        let list = BackupList {
            directory_id: 7,
            number: 3,
            begun_ns: 1,
            through: Sequence(9),
            files: vec![file(FileKind::Block, 1), file(FileKind::Manifest, 3)],
        };
        let list = [&[4][..], &list.encode()].concat();
        for sound in [sound, list] {
            fuzz_formats(&sound);
            for at in 1..sound.len() {
                for change in 1..=255_u8 {
                    let mut changed = sound.clone();
                    changed[at] ^= change;
                    fuzz_formats(&changed);
                }
            }
        }
    }
}
