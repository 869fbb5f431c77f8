//! Whatever the bytes of a block are, reading ends in the rows that were written or in an error
//! that says where.

use super::*;

/// What stands behind the header of a small block with something of everything.
pub(crate) fn small_contents() -> Vec<u8> {
    let (_, bytes) = small();
    let mapped = true;
    let file = Arc::new(MemRead {
        bytes: bytes.clone(),
        mapped,
    });
    let block = Block::from_file(file, DIRECTORY, 5).unwrap();
    let end = usize::try_from(block.file().contents_bytes()).unwrap();
    bytes[64..end].to_vec()
}

fn small() -> (Points, Vec<u8>) {
    let mut points = wide(5, 3);
    let key = CanonicalKey::encode(MeasurementId(8), &mut [(TagKeyId(1), b"x")]);
    let entry = SeriesEntry {
        id: SeriesId(9),
        key,
    };
    for row in 0..300_i32 {
        points.set(
            &entry,
            row.into(),
            FieldId(7),
            FieldValue::Float(f64::from(row % 9) / 4.0),
        );
        if row % 3 == 0 {
            points.set(
                &entry,
                row.into(),
                FieldId(8),
                FieldValue::String(b"text"[..].into()),
            );
        }
    }
    let (_, _, sim) = write(&points, Effort::Cold, 1000);
    (points, sim.peek(block_path(5)).unwrap())
}

fn read_bytes(bytes: Vec<u8>, mapped: bool) -> crate::error::Result<Points> {
    let file = Arc::new(MemRead { bytes, mapped });
    let block = Block::from_file(file, DIRECTORY, 5)?;
    let points = read(&block, TimeRange::ALL)?;
    // Statistics and index are read too.
    for id in block.measurements()? {
        let measurement = block.measurement(id)?.expect("it is listed");
        let series = measurement.series_ids()?;
        let fields: Vec<FieldId> = measurement.fields().map(|(id, _)| id).collect();
        let mut cursor = measurement.cursor(&fields, TimeRange::ALL);
        for chunk in cursor.chunks(series[0])? {
            for field in 0..fields.len() {
                cursor.stats(&chunk, field)?;
            }
        }
    }
    Ok(points)
}

#[test]
fn every_flipped_byte_gives_the_same_rows_or_an_error_that_says_where() {
    let (points, bytes) = small();
    assert_eq!(read_bytes(bytes.clone(), true).unwrap(), points);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            match read_bytes(damaged, at % 2 == 0) {
                Ok(read) => assert_eq!(read, points, "byte {at}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
                    let place = error.place().expect("damage has a place");
                    assert_eq!(place.file, block_path(5));
                    assert!(place.offset <= bytes.len() as u64);
                }
            }
        }
    }
}

#[test]
fn every_cut_is_an_error() {
    let (_, bytes) = small();
    for len in 0..bytes.len() {
        let error = read_bytes(bytes[..len].to_vec(), len % 2 == 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {len}: {error}");
    }
}
