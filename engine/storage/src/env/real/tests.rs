use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;

use super::*;

fn machine(mmap: bool) -> (tempfile::TempDir, RealEnv) {
    let folder = tempfile::tempdir().unwrap();
    let env = RealEnv::new(folder.path().join("data"), RealOptions { mmap });
    (folder, env)
}

fn read(env: &RealEnv, path: &str) -> Vec<u8> {
    let file = env.open_read(Path::new(path)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size_bytes()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read_mapped_and_not() {
    for mmap in [false, true] {
        let (_folder, env) = machine(mmap);
        let _lock = env.lock(Path::new("LOCK")).unwrap();
        env.create_dir(Path::new("wal")).unwrap();
        env.create_dir(Path::new("wal")).unwrap();
        let path = Path::new("wal/1");
        let mut file = env.create(path).unwrap();
        file.allocate(10).unwrap();
        file.write_at(
            2,
            &[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")],
        )
        .unwrap();
        file.sync_data().unwrap();
        env.sync_dir(Path::new("wal")).unwrap();
        assert_eq!(read(&env, "wal/1"), b"\0\0abc\0\0\0\0\0");
        let reader = env.open_read(path).unwrap();
        assert_eq!(reader.bytes().is_some(), mmap);
        assert_eq!(
            reader.bytes().unwrap_or(b"\0\0abc\0\0\0\0\0"),
            read(&env, "wal/1")
        );
        let beyond = reader.read_at(8, &mut [0; 4]).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        let mut again = env.open_write(path).unwrap();
        again.truncate(3).unwrap();
        env.rename(path, Path::new("kept")).unwrap();
        assert_eq!(read(&env, "kept"), b"\0\0a");
        let names = |path: &str| {
            let entries = env.list(Path::new(path)).unwrap();
            entries
                .into_iter()
                .map(|entry| (entry.name, entry.is_dir))
                .collect::<Vec<_>>()
        };
        let root = [("LOCK", false), ("kept", false), ("wal", true)];
        assert_eq!(
            names(""),
            root.map(|(name, is_dir)| (name.to_owned(), is_dir))
        );
        assert_eq!(names("wal"), []);
        env.remove(Path::new("kept")).unwrap();
        let gone = env.open_read(Path::new("kept")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(env.free_bytes().unwrap() > 0);
    }
}

#[test]
fn files_are_private_and_never_made_twice() {
    let (folder, env) = machine(false);
    let _lock = env.lock(Path::new("LOCK")).unwrap();
    env.create_dir(Path::new("wal")).unwrap();
    drop(env.create(Path::new("wal/1")).unwrap());
    let twice = env.create(Path::new("wal/1")).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
    let mode = |path: &str| {
        let path = folder.path().join("data").join(path);
        path.metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode(""), mode("wal"), mode("wal/1"), mode("LOCK")),
        (0o700, 0o700, 0o600, 0o600)
    );
}

#[test]
fn links_pipes_folders_and_paths_that_lead_out_are_refused() {
    let (folder, env) = machine(true);
    let _lock = env.lock(Path::new("LOCK")).unwrap();
    let root = folder.path().join("data");
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    env.create_dir(Path::new("folder")).unwrap();
    for name in [
        "link",
        "pipe",
        "folder",
        "../secret",
        "/etc/passwd",
        "a/b/c",
    ] {
        let refused = env.open_read(Path::new(name)).map(|_| ());
        assert!(refused.is_err(), "{name} is read");
        assert!(
            env.open_write(Path::new(name)).is_err(),
            "{name} is written"
        );
    }
    assert!(env.create_dir(Path::new("link")).is_err());
}

#[test]
fn a_directory_has_one_owner_and_the_second_learns_who_it_is() {
    let (folder, env) = machine(false);
    let held = env.lock(Path::new("LOCK")).unwrap();
    let link = folder.path().join("other-name");
    std::os::unix::fs::symlink(folder.path().join("data"), &link).unwrap();
    let other = RealEnv::new(link, RealOptions { mmap: false });
    for env in [&env, &other] {
        let error = env.lock(Path::new("LOCK")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let owner = format!("process {} has", std::process::id());
        assert!(error.to_string().contains(&owner), "{error}");
    }
    drop(held);
    drop(other.lock(Path::new("LOCK")).unwrap());
}

#[test]
fn a_lock_of_another_process_is_seen_and_names_it() {
    let (folder, env) = machine(false);
    drop(env.lock(Path::new("LOCK")).unwrap());
    // Another open description of the file stands for another process.
    let path = folder.path().join("data/LOCK");
    let stranger = open_regular(&path, OFlags::RDWR).unwrap();
    rustix::fs::flock(&stranger, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::fs::write(&path, "4711\n").unwrap();
    let error = env.lock(Path::new("LOCK")).unwrap_err();
    assert!(error.to_string().contains("process 4711 has"), "{error}");
    drop(stranger);
    drop(env.lock(Path::new("LOCK")).unwrap());
    let owner = std::fs::read_to_string(path).unwrap();
    assert_eq!(owner, format!("{}\n", std::process::id()));
}

#[test]
fn short_and_interrupted_writes_are_carried_on_with() {
    let texts: Vec<Vec<u8>> = (0..2500u32)
        .map(|i| vec![i.to_le_bytes()[0]; i as usize % 7])
        .collect();
    let buffers: Vec<IoSlice<'_>> = texts.iter().map(|text| IoSlice::new(text)).collect();
    for most in [1, 3, 10, 1000, usize::MAX] {
        let mut disk = Vec::new();
        let mut calls = 0;
        write_all(100, &buffers, |offset, buffers| {
            assert!(buffers.len() <= BUFFERS_MAX);
            assert_eq!(offset, 100 + disk.len() as u64);
            calls += 1;
            if calls % 3 == 0 {
                return Err(Errno::INTR);
            }
            let all: Vec<u8> = buffers
                .iter()
                .flat_map(|buffer| &buffer[..])
                .copied()
                .collect();
            let taken = all.len().min(most);
            disk.extend_from_slice(&all[..taken]);
            Ok(taken)
        })
        .unwrap();
        assert_eq!(disk, texts.concat());
    }
    let stuck = write_all(0, &buffers, |_, _| Ok(0)).unwrap_err();
    assert_eq!(stuck.kind(), io::ErrorKind::WriteZero);
    let full = write_all(0, &buffers, |_, _| Err(Errno::NOSPC)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_step_runs_when_woken_and_never_after_stop() {
    let (_folder, env) = machine(false);
    let (called, calls) = mpsc::channel();
    let mut left = 3;
    let step = env
        .every(
            "counter",
            Duration::from_hours(1),
            Box::new(move || {
                left -= 1;
                called
                    .send(std::thread::current().name().map(str::to_owned))
                    .unwrap();
                if left == 1 {
                    StepOutcome::Again
                } else {
                    StepOutcome::Idle
                }
            }),
        )
        .unwrap();
    step.wake();
    assert_eq!(calls.recv().unwrap().as_deref(), Some("counter"));
    step.wake();
    calls.recv().unwrap();
    calls.recv().unwrap();
    step.stop();
    step.stop();
    step.wake();
    assert!(
        calls.recv().is_err(),
        "the step is gone, and its channel with it"
    );
}

#[test]
fn clocks_and_randomness_move() {
    let (_folder, env) = machine(false);
    let year_2020_ns = 1_577_836_800_000_000_000;
    assert!(env.now_ns() > year_2020_ns);
    let first = env.monotonic();
    assert!(env.monotonic() >= first);
    assert_ne!(env.random(), env.random());
}
