//! One list of operations, compared with the model after each; its numbers are drawn by a test, or made
//! by the fuzzer.

use silverback_storage::env::SimEnv;

use crate::deletes::series;
use crate::ops::{DATABASES, Op};
use crate::support::{open, options, read};
use crate::world::World;

/// Does what the numbers stand for and compares after each operation; after writes not always.
pub(crate) fn run(numbers: &[u64]) {
    let mut world = World::new(&SimEnv::new(5), options());
    let create = |world: &mut World| {
        for database in DATABASES {
            world.apply(&Op::Create(database));
        }
    };
    create(&mut world);
    for number in numbers {
        let op = Op::from_number(*number);
        world.apply(&op);
        create(&mut world);
        assert_eq!(world.failure, None);
        if matches!(op, Op::Write(..)) && number % 4 != 0 {
            continue;
        }
        let db = world.db.as_ref().unwrap();
        let found = read(db).unwrap();
        assert_eq!(world.model.fault(&found), None);
        for database in DATABASES {
            let listed = series(db, database).unwrap();
            assert_eq!(world.model.listed_fault(database, &found, &listed), None);
        }
        assert_eq!(db.stats().problems, []);
    }
    world.db = None;
    let found = read(&open(&world.env).unwrap()).unwrap();
    assert_eq!(world.model.fault(&found), None, "opened again");
}
