//! Why something can't be stored or read, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why something can't be stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder can't be made or written to.
    #[error("can't keep the history in {}: {problem}; choose a data directory that this user may write to", .folder.display())]
    Folder {
        /// The data directory.
        folder: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// Another process has it.
    #[error("another process keeps its history in {}: stop that process, or choose another data directory", .folder.display())]
    InUse {
        /// The data directory.
        folder: PathBuf,
    },
    /// The file isn't ours, or isn't what we wrote.
    #[error("the history in {} is damaged ({detail}): put a backup in its place, or move it away to begin with an empty one", .file.display())]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A newer version wrote it.
    #[error("the history in {} is of format {found}, and this version knows formats up to {known}: use the version that wrote it, or another data directory", .file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// The format that was found.
        found: u64,
        /// The newest that is known.
        known: u64,
    },
    /// There is no space left.
    #[error("no space is left for the history in {}: free some; storing then goes on by itself", .file.display())]
    DiskFull {
        /// The database.
        file: PathBuf,
    },
    /// Reading or writing failed.
    #[error("the history in {} can't be read or written ({problem}): check the disk; storing goes on by itself once it can", .file.display())]
    Io {
        /// The database.
        file: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// The disk doesn't keep up, and no more may wait.
    #[error("too much waits to be stored: the disk doesn't keep up; try it again later")]
    Busy,
    /// There are as many rooms on disk as there may be.
    #[error(
        "the history has room for {max} rooms, and all of them hold messages: use one that exists, or try it later"
    )]
    TooManyRooms {
        /// [`Retention::rooms`](super::Retention::rooms).
        max: u64,
    },
    /// There are as many bans as there may be.
    #[error("there are {max} bans already: lift some")]
    TooManyBans {
        /// The limit.
        max: u64,
    },
    /// A room's name or a ban's key is too long to be a key.
    #[error("a room's name or a ban's key has {bytes} bytes and may have {max}: shorten it")]
    KeyTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The store was closed.
    #[error("the history is closed: the server is stopping")]
    Closed,
}

impl StoreError {
    /// What the database said about `file`.
    pub(super) fn from_database(error: redb::Error, file: &Path) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse { folder: folder_of(file) }
            }
            redb::Error::Io(error) => Self::from_io(&error, file),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::Io { file: file.to_owned(), problem: "an earlier write failed".to_owned() }
            }
            other => Self::corrupt(file, other.to_string()),
        }
    }

    pub(super) fn corrupt(file: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), detail: detail.into() }
    }

    fn from_io(error: &io::Error, file: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { file: file.to_owned() }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::corrupt(file, error.to_string())
            }
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotFound => Self::folder(&folder_of(file), error),
            _ => Self::Io { file: file.to_owned(), problem: error.to_string() },
        }
    }

    pub(super) fn folder(folder: &Path, error: &io::Error) -> Self {
        Self::Folder { folder: folder.to_owned(), problem: error.to_string() }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}
