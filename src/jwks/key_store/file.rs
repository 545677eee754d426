//! `FileKeyStore`: key sets in the files of one directory.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::jwks::key_store::changes::{Change, Changes};
use crate::jwks::key_store::record::TENANT_PREFIX;
use crate::jwks::key_store::{KeyStore, KeyStoreFuture};
use crate::jwks::key_store_error::KeyStoreError;

/// Stores key sets in a directory: one file for each issuer. Clones share the directory. The file of a
/// [tenant](crate::config::Tenants) is removed with the tenant, and if it was not written for 30 days.
///
/// On Unix, a new directory has the mode 0700 and a file the mode 0600. A file is replaced as a whole: a new one is written and
/// synchronized, and then renamed. Several processes may use one directory. Files are read and written on threads outside of the
/// runtime.
///
/// ```no_run
/// use tower_bearer::jwks::FileKeyStore;
/// use tower_bearer::{Api, Issuer, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
/// let store = FileKeyStore::new("/var/lib/orders/keys")?;
/// let validator = Validator::builder(api).with_key_store(store).build()?;
/// # let _ = validator;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Anyone who can write to the directory can add keys and sign tokens, see [`KeyStore`]. The same applies to anyone who can
/// create or replace the directory, so its parent directories must be as protected: never use a path below `/tmp`. A file is
/// read only if it is a regular file, belongs to this user or root, and is not writable by every user; the directory must meet
/// the same conditions.
///
/// The members of the group of a directory or file may write to it if its mode allows this: a Kubernetes volume with `fsGroup` is
/// writable by that group. Give no other program this group.
#[derive(Clone, Debug)]
pub struct FileKeyStore {
    directory: Arc<Path>,
    /// The user of this process.
    user: u32,
    changes: Arc<Changes>,
}

impl FileKeyStore {
    /// Uses a directory, and creates it if it is missing. Removes temporary files that a crash has left there more than an hour
    /// ago. Blocks the thread for as long as the file system takes.
    ///
    /// # Errors
    ///
    /// The error of the operating system, also if this process may not write to the directory;
    /// [`NotADirectory`](io::ErrorKind::NotADirectory) if the path is something else;
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) also if every user of the system may write to the directory, or if
    /// it belongs to another user.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        if !directory.exists() {
            create(&directory)?;
        }
        let metadata = fs::metadata(&directory)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let denied = |reason: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        if is_writable_by_others(&metadata) {
            return denied("every user of the system may write to the directory; its mode should be 0700");
        }
        let created = create_file(&directory)?;
        let (user, now) = (owner(&created), created.modified().ok());
        if is_untrusted(&metadata, user) {
            return denied("the directory belongs to another user");
        }
        now.into_iter().for_each(|now| remove_abandoned(&directory, user, now));
        Ok(Self { directory: directory.into(), user, changes: Arc::new(Changes::new(now)) })
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyStoreError> {
        if is_name(name) { Ok(self.directory.join(format!("{name}{RECORD}"))) } else { Err(KeyStoreError::InvalidName) }
    }

    /// Replaces a file, unless a later change was made already.
    fn write(&self, change: &Change, record: &[u8]) -> Result<(), KeyStoreError> {
        let path = self.path(change.name())?;
        let temporary = temporary_path(&self.directory, change.name());
        change.apply(|cleaned_at| {
            let written = write_new(&temporary, record).and_then(|written| {
                fs::rename(&temporary, path)?;
                Ok(written)
            });
            let written = written.inspect_err(|_| {
                let _may_be_missing = fs::remove_file(&temporary);
            })?;
            self.clean(cleaned_at, written.modified().ok());
            Ok(synchronize(&self.directory)?)
        })
    }

    /// Removes a file, unless a later change was made already.
    fn delete(&self, change: &Change) -> Result<(), KeyStoreError> {
        let path = self.path(change.name())?;
        change.apply(|_| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.and_then(|()| synchronize(&self.directory))?),
        })
    }

    /// Removes old files from time to time.
    fn clean(&self, cleaned_at: &mut Option<SystemTime>, now: Option<SystemTime>) {
        let since = cleaned_at.zip(now).map(|(cleaned_at, now)| now.duration_since(cleaned_at).unwrap_or_default());
        if let Some(now) = now
            && since.is_none_or(|since| since >= CLEANING_INTERVAL)
        {
            *cleaned_at = Some(now);
            remove_abandoned(&self.directory, self.user, now);
        }
    }
}

impl KeyStore for FileKeyStore {
    fn load(&self, name: &str, max_bytes: usize) -> KeyStoreFuture<Option<Bytes>> {
        let (path, user) = (self.path(name), self.user);
        on_thread(move || read(&path?, max_bytes, user))
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        let (store, change) = (self.clone(), self.changes.start(name));
        on_thread(move || store.write(&change, &record))
    }

    fn remove(&self, name: &str) -> KeyStoreFuture<()> {
        let (store, change) = (self.clone(), self.changes.start(name));
        on_thread(move || store.delete(&change))
    }
}

/// Runs `work` on a thread. A runtime waits for its own blocking threads when it shuts down, and a network file system may not
/// respond.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static) -> KeyStoreFuture<T> {
    let (sender, outcome) = oneshot::channel();
    let started = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
        let _receiver_gone = sender.send(work());
    });
    Box::pin(async move {
        started?;
        outcome.await.unwrap_or(Err(KeyStoreError::Panic))
    })
}

/// Returns whether a name is valid, see [`KeyStore::load`].
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Returns a path that no other process uses.
fn temporary_path(directory: &Path, name: &str) -> PathBuf {
    let random = RandomState::new().build_hasher().finish();
    directory.join(format!(".{name}.{random:016x}{TEMPORARY}"))
}

/// Creates a file and removes it. Returns its metadata: its owner is the user of this process, and its time is the current time
/// of the file system.
fn create_file(directory: &Path) -> io::Result<Metadata> {
    let path = temporary_path(directory, "new");
    let created = create_new(&path)?.metadata();
    fs::remove_file(&path)?;
    created
}

/// Removes the temporary files of this user that are too old to belong to a save in progress, and the records of tenants that were not
/// written for 30 days. A failure is harmless.
fn remove_abandoned(directory: &Path, user: u32, now: SystemTime) {
    let is_abandoned = |entry: &DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let limit = if name.starts_with('.') && name.ends_with(TEMPORARY) {
            ABANDONED_AFTER
        } else if name.starts_with(TENANT_PREFIX) && name.ends_with(RECORD) {
            TENANT_ABANDONED_AFTER
        } else {
            return None;
        };
        let found = entry.metadata().ok()?;
        let age = now.duration_since(found.modified().ok()?).ok()?;
        (found.is_file() && owner(&found) == user && age >= limit).then_some(())
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if is_abandoned(&entry).is_some() {
            let _may_be_missing = fs::remove_file(entry.path());
        }
    }
}

/// Reads a regular file of at most `max_bytes` bytes.
fn read(path: &Path, max_bytes: usize, user: u32) -> Result<Option<Bytes>, KeyStoreError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    // Opening a pipe would block the thread.
    if !found.is_file() {
        return Err(KeyStoreError::NotAFile);
    }
    let file = File::open(path)?;
    let opened = file.metadata()?;
    if !is_same_file(&found, &opened) {
        return Err(KeyStoreError::NotAFile);
    }
    if is_writable_by_others(&opened) {
        return Err(KeyStoreError::WritableByOthers);
    }
    if is_untrusted(&opened, user) {
        return Err(KeyStoreError::OtherOwner);
    }
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let mut record = Vec::new();
    if opened.len() <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut record)?;
    }
    if opened.len() > limit || record.len() > max_bytes {
        return Err(KeyStoreError::TooLarge);
    }
    Ok(Some(record.into()))
}

/// Creates a file for this user only; fails if it exists.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    for_owner_only(&mut options);
    options.open(path)
}

/// Returns the metadata of the file. Its time is the current time of the file system.
fn write_new(path: &Path, record: &[u8]) -> io::Result<Metadata> {
    let mut file = create_new(path)?;
    file.write_all(record)?;
    file.sync_all()?;
    file.metadata()
}

#[cfg(unix)]
fn create(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(directory)
}

#[cfg(unix)]
fn for_owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn for_owner_only(_: &mut OpenOptions) {}

#[cfg(unix)]
fn is_writable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn is_writable_by_others(_: &Metadata) -> bool {
    false
}

/// Returns whether a file or directory belongs to another user than this one and root.
fn is_untrusted(metadata: &Metadata, user: u32) -> bool {
    ![user, ROOT].contains(&owner(metadata))
}

#[cfg(unix)]
fn owner(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid()
}

#[cfg(not(unix))]
fn owner(_: &Metadata) -> u32 {
    ROOT
}

/// Returns whether a file that was opened is the one that was found before, and not one that has replaced it since.
#[cfg(unix)]
fn is_same_file(found: &Metadata, opened: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino()) == (opened.dev(), opened.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, opened: &Metadata) -> bool {
    opened.is_file()
}

/// Makes a rename permanent.
#[cfg(unix)]
fn synchronize(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn synchronize(_: &Path) -> io::Result<()> {
    Ok(())
}

const THREAD_NAME: &str = "tower-bearer-keys";

/// The end of the names of temporary files.
const TEMPORARY: &str = ".tmp";

/// The end of the names of records.
const RECORD: &str = ".json";

/// Longer than any save takes.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A tenant in use is saved every few minutes. Keys may be used for an hour after that by default. A policy with a longer `max_stale` than
/// this loses them earlier.
const TENANT_ABANDONED_AFTER: Duration = Duration::from_secs(30 * 86_400);

const CLEANING_INTERVAL: Duration = Duration::from_secs(3600);

const ROOT: u32 = 0;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::runtime::Builder;

    use super::*;

    const LIMIT: usize = 100;

    /// A directory that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::SeqCst);
            Self(std::env::temp_dir().join(format!("tower-bearer-{}-{number}", std::process::id())))
        }

        fn store(&self) -> FileKeyStore {
            FileKeyStore::new(self.0.join("a/keys")).expect("a directory")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.join("a/keys")).expect("the directory");
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _may_be_missing = fs::remove_dir_all(&self.0);
        }
    }

    fn wait<T>(future: KeyStoreFuture<T>) -> Result<T, KeyStoreError> {
        Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    fn path(store: &FileKeyStore, name: &str) -> PathBuf {
        store.path(name).expect("a valid name")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    }

    #[test]
    fn loads_what_was_saved_last_under_the_name() {
        let folder = Folder::new();
        let store = folder.store();
        assert_eq!(wait(store.load("one", LIMIT)), Ok(None));
        for record in ["first", "", "second"] {
            assert_eq!(wait(store.save("one", record.into())), Ok(()));
            assert_eq!(wait(folder.store().load("one", LIMIT)), Ok(Some(record.into())), "after a restart");
        }
        assert_eq!(wait(store.load("two", LIMIT)), Ok(None));
        assert_eq!(folder.names(), ["one.json"], "no temporary file remains");
    }

    #[test]
    fn creates_directory_and_files_for_their_owner_only() {
        let folder = Folder::new();
        let store = folder.store();
        wait(store.save("one", "record".into())).expect("saved");
        assert_eq!((mode(&store.directory), mode(&path(&store, "one"))), (0o700, 0o600));
        // The mode of a directory that exists stays.
        set_mode(&store.directory, 0o750);
        let _store = folder.store();
        assert_eq!(mode(&store.directory), 0o750);
    }

    #[test]
    fn rejects_paths_that_are_no_private_directory() {
        let folder = Folder::new();
        let store = folder.store();
        wait(store.save("one", "record".into())).expect("saved");
        let error = |path: &Path| FileKeyStore::new(path).map(drop).expect_err("rejected").kind();
        assert_eq!(error(&path(&store, "one")), io::ErrorKind::NotADirectory);
        for open in [0o702, 0o777, 0o1777] {
            set_mode(&store.directory, open);
            assert_eq!(error(&store.directory), io::ErrorKind::PermissionDenied, "{open:o}");
        }
        set_mode(&store.directory, 0o775);
        assert!(FileKeyStore::new(&*store.directory).is_ok());
    }

    #[test]
    fn does_not_read_what_another_user_may_have_placed_there() {
        let folder = Folder::new();
        let store = folder.store();
        let target = folder.0.join("elsewhere");
        fs::write(&target, "record").expect("a file");
        symlink(&target, path(&store, "link")).expect("a link");
        assert_eq!(wait(store.load("link", LIMIT)), Err(KeyStoreError::NotAFile));
        fs::create_dir(path(&store, "folder")).expect("a directory");
        assert_eq!(wait(store.load("folder", LIMIT)), Err(KeyStoreError::NotAFile));
        wait(store.save("one", "record".into())).expect("saved");
        set_mode(&path(&store, "one"), 0o602);
        assert_eq!(wait(store.load("one", LIMIT)), Err(KeyStoreError::WritableByOthers));
        set_mode(&path(&store, "one"), 0o660);
        assert_eq!(wait(store.load("one", LIMIT)), Ok(Some("record".into())));
        // A save replaces the link, and not the file that it refers to.
        wait(store.save("link", "new".into())).expect("saved");
        assert_eq!(wait(store.load("link", LIMIT)), Ok(Some("new".into())));
        assert_eq!(fs::read_to_string(&target).expect("the file"), "record");
    }

    /// Only root may give a file to another user. Without this right, the test pretends to be another user.
    #[test]
    fn does_not_read_a_file_of_another_user() {
        let folder = Folder::new();
        let mut store = folder.store();
        wait(store.save("one", "record".into())).expect("saved");
        assert_eq!(wait(store.load("one", LIMIT)), Ok(Some("record".into())));
        let given_away = [&path(&store, "one"), &*store.directory].map(|path| chown(path, Some(4711), None).is_ok());
        if given_away == [true; 2] {
            let error = FileKeyStore::new(&*store.directory).map(drop).expect_err("rejected");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(error.to_string(), "the directory belongs to another user");
        } else {
            store.user += 1;
        }
        assert_eq!(wait(store.load("one", LIMIT)), Err(KeyStoreError::OtherOwner));
    }

    #[test]
    fn rejects_names_that_are_no_file_names() {
        let folder = Folder::new();
        let store = folder.store();
        for name in ["", ".", "..", "../one", "a/b", "a\\b", "a.b", "é", "a\0", &"n".repeat(65)] {
            assert_eq!(wait(store.load(name, LIMIT)), Err(KeyStoreError::InvalidName), "{name:?}");
            assert_eq!(wait(store.save(name, "x".into())), Err(KeyStoreError::InvalidName), "{name:?}");
        }
        assert_eq!(folder.names(), [""; 0]);
        assert_eq!(wait(store.save(&"n".repeat(64), "x".into())), Ok(()));
        assert_eq!(wait(store.save("keys-A_z0", "x".into())), Ok(()));
    }

    #[test]
    fn removes_files_that_a_crash_or_a_tenant_has_left() {
        let folder = Folder::new();
        let store = folder.store();
        let now = create_file(&store.directory).expect("metadata").modified().expect("a time");
        let set_age = |name: &str, age: Duration| {
            let file = File::create(store.directory.join(name)).expect("a file");
            file.set_modified(now - age).expect("our own file");
        };
        let hour = Duration::from_secs(3600);
        set_age(".one.0123456789abcdef.tmp", hour);
        set_age(".one.00.tmp", hour - Duration::from_secs(60));
        set_age("one.json", 2 * hour);
        set_age("keys-old.json", 31 * 24 * hour);
        set_age("tenant-old.json", 30 * 24 * hour);
        set_age("tenant-new.json", 29 * 24 * hour);
        set_age("notes.tmp", 2 * hour);
        fs::create_dir(store.directory.join(".folder.tmp")).expect("a directory");
        let store = folder.store();
        let sorted = || {
            let mut names = folder.names();
            names.sort_unstable();
            names
        };
        let left = [".folder.tmp", ".one.00.tmp", "keys-old.json", "notes.tmp", "one.json", "tenant-new.json"];
        assert_eq!(sorted(), left);
        // Again at a save, but not more often than once an hour.
        set_age("tenant-old.json", 30 * 24 * hour);
        assert_eq!(wait(store.save("one", "x".into())), Ok(()));
        assert!(sorted().contains(&"tenant-old.json".to_owned()));
        store.clean(&mut Some(now - hour), Some(now));
        assert_eq!(sorted(), left);
    }

    #[test]
    fn limits_the_length_of_a_record() {
        let folder = Folder::new();
        let store = folder.store();
        for (length, expected) in [(LIMIT, Ok(Some(LIMIT))), (LIMIT + 1, Err(KeyStoreError::TooLarge))] {
            wait(store.save("one", vec![b'x'; length].into())).expect("saved");
            assert_eq!(wait(store.load("one", LIMIT)).map(|record| record.map(|bytes| bytes.len())), expected);
        }
        // A sparse file takes no space, and is not read.
        File::create(path(&store, "huge")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        assert_eq!(wait(store.load("huge", LIMIT)), Err(KeyStoreError::TooLarge));
    }

    #[test]
    fn returns_the_error_of_the_file_system_and_recovers() {
        let folder = Folder::new();
        let store = folder.store();
        fs::remove_dir(&store.directory).expect("empty");
        let missing = Err(KeyStoreError::Io { kind: io::ErrorKind::NotFound });
        assert_eq!((wait(store.load("one", LIMIT)), wait(store.save("one", "x".into()))), (Ok(None), missing));
        let _store = folder.store();
        assert_eq!(wait(store.save("one", "x".into())), Ok(()));
    }

    #[test]
    fn an_earlier_save_does_not_replace_a_later_one() {
        let folder = Folder::new();
        let store = folder.store();
        let [earlier, later, last] = ["one"; 3].map(|name| store.changes.start(name));
        let other = store.changes.start("two");
        assert_eq!(store.write(&later, b"later"), Ok(()));
        assert_eq!(store.write(&earlier, b"earlier"), Ok(()));
        assert_eq!(wait(store.load("one", LIMIT)), Ok(Some("later".into())));
        assert_eq!((store.write(&other, b"two"), store.write(&last, b"last")), (Ok(()), Ok(())));
        assert_eq!(wait(store.load("one", LIMIT)), Ok(Some("last".into())));
        assert_eq!(store.changes.unfinished(), 2);
        drop([earlier, later, last, other]);
        assert_eq!(store.changes.unfinished(), 0, "names take no memory");
    }

    #[test]
    fn removes_a_record_that_no_earlier_save_restores() {
        let folder = Folder::new();
        let store = folder.store();
        assert_eq!(wait(store.remove("one")), Ok(()), "there is none");
        assert_eq!((wait(store.save("one", "x".into())), wait(store.save("two", "y".into()))), (Ok(()), Ok(())));
        let (slow, removal) = (store.changes.start("one"), store.changes.start("one"));
        assert_eq!(store.delete(&removal), Ok(()));
        assert_eq!(store.write(&slow, b"late"), Ok(()));
        assert_eq!((wait(store.load("one", LIMIT)), folder.names()), (Ok(None), vec!["two.json".to_owned()]));
        drop([slow, removal]);
        assert_eq!(wait(store.save("one", "new".into())), Ok(()));
        assert_eq!(wait(store.load("one", LIMIT)), Ok(Some("new".into())));
        assert_eq!(wait(store.remove("../one")), Err(KeyStoreError::InvalidName));
    }
}
