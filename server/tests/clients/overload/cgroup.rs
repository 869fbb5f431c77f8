//! A control group of version 1 of its own for one server. It is removed with the value.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A group of one controller.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

impl Group {
    /// A fresh group of `controller` below this process's own; `None`, aloud, where there is none.
    pub(super) fn new(controller: &str, name: &str) -> Option<Group> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let mut controllers = controllers.split(',');
            controllers
                .any(|one| one == controller)
                .then_some(path.trim_start_matches('/'))
        });
        let own = own?;
        let root = Path::new("/sys/fs/cgroup").join(controller);
        // Inside a container the path may be the host's.
        let parents = [root.join(own), root];
        let parent = parents.into_iter().find(|parent| parent.is_dir())?;
        let path = parent.join(format!("silverback-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Group(path))
    }

    /// Sets one of the group's values; false where the machine does not let it.
    pub(super) fn set(&self, file: &str, value: &str) -> bool {
        std::fs::write(self.0.join(file), value).is_ok()
    }

    /// One of the group's values.
    pub(super) fn get(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// The server, which enters the group before it begins. Arguments follow.
    pub(super) fn command(&self) -> Command {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"",
            self.0.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_silverback")]);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may still be counted in it.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("{} stays behind", self.0.display());
    }
}
