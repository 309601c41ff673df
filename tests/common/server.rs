//! The real binary: servers on a free port, and commands that end by themselves.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// A bound on whatever has to happen, far above what it takes: nothing hangs, and nothing is measured.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for what has to happen.
pub async fn within<T>(happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.expect("it happens within five seconds")
}

/// The binary with these arguments, and nothing of our own environment that would change its flags.
pub fn switchboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("SWITCHBOARD_")) {
        command.env_remove(name);
    }
    command.args(arguments).env_remove("RUST_LOG").kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(arguments: &[&str]) -> Output {
    let mut command = switchboard(arguments);
    within(command.stdin(Stdio::null()).output()).await.expect("the binary runs")
}

/// A server, killed when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    // Kept, so that what the server prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `switchboard` with these arguments on a free port, and waits until it listens.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::spawn(switchboard(arguments).stderr(Stdio::null())).await
    }

    /// The same, with all that it says on standard error in a file.
    pub async fn start_logged(arguments: &[&str], filter: &str, log: &Path) -> Self {
        let file = File::create(log).expect("the file can be written");
        Self::spawn(switchboard(arguments).env("RUST_LOG", filter).stderr(file)).await
    }

    async fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        within(stdout.read_line(&mut line)).await.expect("the server prints a line");
        let address = line.trim_end().strip_prefix("listening on ws://").expect("the line has its address");
        Self { address: address.parse().expect("an address and a port"), child, _stdout: stdout }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// How many bytes of memory it has for itself alone.
    pub fn private_bytes(&self) -> usize {
        let id = self.id();
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).expect("this is Linux");
        let line =
            rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("it has the line");
        1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB")
    }

    /// Forgets how much memory it has had at most so far.
    pub fn reset_peak(&self) {
        let id = self.child.id().expect("it runs");
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").expect("it is our own child");
    }

    /// How much memory it has had at most since then, in bytes, all kinds together.
    pub fn peak_bytes(&self) -> usize {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has the line");
        1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB")
    }

    /// How many files it has open.
    pub fn open_files(&self) -> usize {
        let id = self.child.id().expect("it runs");
        std::fs::read_dir(format!("/proc/{id}/fd")).expect("this is Linux").count()
    }

    /// Lets it have no more than so many files open.
    pub async fn limit_files(&self, files: usize) {
        let id = self.child.id().expect("it runs").to_string();
        let limit = format!("--nofile={files}:");
        let limited = Command::new("prlimit").args(["--pid", &id, &limit]).status().await;
        assert!(limited.expect("prlimit runs").success());
    }

    /// Sends it a signal, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.expect("kill runs").success(), "the server is there");
    }

    /// Waits for it to end.
    pub async fn wait(&mut self) -> ExitStatus {
        within(self.child.wait()).await.expect("it is our child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.start_kill();
        while let Ok(None) = self.child.try_wait() {
            std::thread::yield_now();
        }
    }
}

/// A folder of a test's own, gone when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("switchboard-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is a text").to_owned()
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("the file can be written");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
