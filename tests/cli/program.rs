//! The program as its users meet it: started, fed, and looked at from outside.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, not yet started. `WATTLE_TEST_RUNNER` names the emulator of another CPU's build.
pub(crate) fn command() -> Command {
    let program = env!("CARGO_BIN_EXE_wattle");
    let mut command = match std::env::var_os("WATTLE_TEST_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    command.env_remove("WATTLE_ISA").stdin(Stdio::null());
    command
}

/// Runs a command with `stdin` as its input.
pub(crate) fn finish(mut command: Command, stdin: &[u8]) -> Ran {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("piped");
    // A program that ends before it reads closes the pipe; its exit code tells the rest.
    let _ = input.write_all(stdin);
    drop(input);
    let output = child.wait_with_output().expect("the program ends");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// Runs the program with nothing to read.
pub(crate) fn wattle(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    let mut command = command();
    command.args(args);
    finish(command, b"")
}

/// A folder of its own, gone at the end of the test.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wattle-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self { path }
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, bytes).expect("a file for the test");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Ran {
    /// Asserts a failure with this exit code, silence on stdout, and a sentence on stderr that holds all `parts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "text on stdout: {self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "a panic: {self:?}");
    }
}
