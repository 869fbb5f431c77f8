//! A real ext4 in a file, mounted on a loop device, that is shut down as a power cut does it: what the
//! journal has not written is gone.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ledger::POWER_OFF;
use crate::Outcome;

const SIZE_BYTES: u64 = 192 << 20;

/// Notes it in the ledger, then `ioctl(fd, FS_IOC_SHUTDOWN, FS_SHUTDOWN_FLAGS_NOLOGFLUSH)`: stop at
/// once, do not flush the journal.
const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
    disk = os.open(sys.argv[1], os.O_RDONLY)\n\
    ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n\
    os.write(ledger, (sys.argv[3] + '\\n').encode())\n\
    fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";

/// A mounted file system, unmounted when the value goes.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    folder: PathBuf,
    is_mounted: bool,
}

fn run(command: &mut Command) -> Outcome {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?}: {}: {said}", output.status))
}

impl Disk {
    /// A new one, whose file and folder lie in `place`.
    pub(crate) fn make(place: &Path) -> Result<Disk, String> {
        let (image, folder) = (place.join("disk.img"), place.join("disk"));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = std::fs::File::create(&image).and_then(|file| file.set_len(SIZE_BYTES));
        file.map_err(|error| format!("{}: {error}", image.display()))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut disk = Disk {
            image,
            folder,
            is_mounted: false,
        };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn mount(&mut self) -> Outcome {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).args([&self.image, &self.folder]))?;
        self.is_mounted = true;
        Ok(())
    }

    /// Power fails, which is noted in `ledger` just before. Every call fails from then on, until
    /// [`Disk::power_on`].
    pub(crate) fn power_off(&self, ledger: &Path) -> Outcome {
        let mut python = Command::new("python3");
        python.args(["-c", SHUTDOWN]).args([&self.folder, ledger]);
        run(python.arg(POWER_OFF))
    }

    /// Mounts it again, which replays its journal. Nobody may have a file of it open.
    pub(crate) fn power_on(&mut self) -> Outcome {
        run(Command::new("umount").arg(&self.folder))?;
        self.is_mounted = false;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // The loop device goes with the mount.
            drop(run(Command::new("umount").arg(&self.folder)));
        }
        drop(std::fs::remove_file(&self.image));
    }
}
