//! The handler of SIGBUS: what the system sends to a process that reads a mapped file where the file
//! was cut or its disk fails. It puts zeros in the mapping's place and marks it; the reader finds
//! the mark and answers with an error. Faults that are not ours go to the handler that was there.
//!
//! It runs on the alternate stack that Rust's threads have, or on the thread's own: it takes less
//! than a kilobyte. It allocates nothing and takes no lock.
#![expect(
    unsafe_code,
    reason = "a signal handler is a matter of the system's own interface"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::map::replace_by_zeros;

/// What handled the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// From now on, a mapped data file that another program cuts, or whose disk fails, is an error of
/// who reads it and not the end of this process. Installs a handler of SIGBUS once for the process,
/// which hands all other faults to the handler that was there.
///
/// # Errors
/// What the system says.
pub fn guard_mapped_files() -> io::Result<()> {
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::zeroed();
    // SAFETY: asks only; the place for the answer is valid.
    check(unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), before.as_mut_ptr()) })?;
    // SAFETY: all zeros is a valid value of the record, and the call has filled it.
    let before = unsafe { before.assume_init() };
    BEFORE.get_or_init(|| before);
    let mut action: libc::sigaction = default_action();
    action.sa_sigaction = on_bus_error as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    install(&action)
}

fn check(outcome: c_int) -> io::Result<()> {
    if outcome == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

fn default_action() -> libc::sigaction {
    let zeros = MaybeUninit::zeroed();
    // SAFETY: all zeros is a valid record: the default action, no flags, no signals blocked.
    unsafe { zeros.assume_init() }
}

fn install(action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: the record is valid, and a handler in it has the signature that its flags promise.
    check(unsafe { libc::sigaction(libc::SIGBUS, action, std::ptr::null_mut()) })
}

/// The handler.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a handler with SA_SIGINFO a valid record.
    let info_ref = unsafe { &*info };
    // Above zero the kernel itself sent it, and there is an address.
    let is_fault = info_ref.si_code > 0;
    if is_fault {
        // SAFETY: signals of this number that the kernel sends have an address.
        let address = unsafe { info_ref.si_addr() };
        if replace_by_zeros(address.addr()) {
            return;
        }
    }
    hand_on(signal, is_fault, (info, context));
}

/// Does what would have been done without us.
fn hand_on(signal: c_int, is_fault: bool, (info, context): (*mut libc::siginfo_t, *mut c_void)) {
    let (handler, flags) = BEFORE.get().map_or((libc::SIG_DFL, 0), |before| {
        (before.sa_sigaction, before.sa_flags)
    });
    if handler == libc::SIG_IGN && !is_fault {
        return;
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // The instruction is tried again and ends the process; a signal that somebody sent is sent
        // again. Where that is refused, there is nothing else to do.
        install(&default_action()).ok();
        if !is_fault {
            // SAFETY: sends this thread a signal, which is delivered when the handler returns.
            unsafe { libc::raise(signal) };
        }
    } else if flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: whoever set the flag promised a handler of this signature.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever did not set the flag promised a handler of this signature.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use memmap2::Mmap;

    use super::*;
    use crate::env::real::map::Mapping;

    const ROLE: &str = "SILVERBACK_TEST_FAULT";

    extern "C" fn own_handler(_: c_int) {
        // SAFETY: ends the process at once, which a handler may.
        unsafe { libc::_exit(7) }
    }

    /// A file of two pages, for a mapping, and the way to cut it.
    fn file() -> (tempfile::NamedTempFile, OwnedFd) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        let descriptor = file.reopen().unwrap().into();
        (file, descriptor)
    }

    fn act(role: &str) {
        if role == "host" {
            let mut action = default_action();
            action.sa_sigaction = own_handler as *const () as usize;
            install(&action).unwrap();
        }
        if role == "sent" {
            // In place of that of Rust's runtime, which passes over a signal that is no fault.
            install(&default_action()).unwrap();
        }
        guard_mapped_files().unwrap();
        guard_mapped_files().unwrap();
        let (file, descriptor) = file();
        if role == "ours" {
            let mapping = Mapping::new(&descriptor, 8192).unwrap();
            let other = Mapping::new(&descriptor, 8192).unwrap();
            file.as_file().set_len(4096).unwrap();
            assert_eq!(mapping.bytes()[4095], 0);
            assert_eq!(mapping.fault(), None);
            assert_eq!(mapping.bytes()[5000], 0);
            assert_eq!(mapping.fault(), Some(5000));
            assert_eq!(other.fault(), None);
            drop(mapping);
            assert_eq!(Mapping::new(&descriptor, 4096).unwrap().fault(), None);
        } else if role == "sent" {
            // SAFETY: sends this thread a signal.
            unsafe { libc::raise(libc::SIGBUS) };
        } else {
            // SAFETY: the file is cut on purpose.
            let foreign = unsafe { Mmap::map(&descriptor) }.unwrap();
            file.as_file().set_len(0).unwrap();
            assert_ne!(foreign[0], 1, "this is not reached");
        }
    }

    #[test]
    fn faults_of_ours_are_survived_and_all_others_are_handed_on() {
        if let Some(role) = std::env::var_os(ROLE) {
            return act(role.to_str().unwrap());
        }
        let run = |role: &str| {
            let name = "env::real::guard::tests::\
                        faults_of_ours_are_survived_and_all_others_are_handed_on";
            let mut test = Command::new(std::env::current_exe().unwrap());
            test.args(["--exact", name]).env(ROLE, role);
            let output = test.output().unwrap();
            (output.status.code(), output.status.signal())
        };
        assert_eq!(run("ours"), (Some(0), None));
        assert_eq!(run("foreign"), (None, Some(libc::SIGBUS)));
        assert_eq!(run("sent"), (None, Some(libc::SIGBUS)));
        assert_eq!(run("host"), (Some(7), None));
    }
}
