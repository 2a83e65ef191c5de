//! Lists the known texts of faults. Each row says where its text comes from.
//!
//! Koji uses one fault code for many things, so texts decide first. Sources are named by file and
//! function of Koji 1.35 or mock 6. A row also matches the texts of older versions. A text that
//! matches no row is [`FaultClass::Unknown`] if its code says nothing either.

use super::FaultClass::{self, Build, Builder, Dependencies, Hub, InputVanished, Refused, SourcePackage, Unknown};

/// A text and its class.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Lower-case pieces, separated by `*`, that must follow one another in the text.
    pub text: &'static str,
    /// Class of a fault with this text.
    pub class: FaultClass,
    /// The program and place that produces the text.
    pub source: &'static str,
}

const fn row(class: FaultClass, text: &'static str, source: &'static str) -> Row {
    Row { text, class, source }
}

/// The known texts. The first matching row decides. The package's own texts come first, because the
/// output of tools may follow them.
pub const TEXTS: &[Row] = &[
    // ---- The package's own.
    row(Build, "the following noarch package built differently on different architectures", "kojihub rpmdiff"),
    row(SourcePackage, "no spec file found", "kojid BuildRoot.rebuild_srpm, BuildSRPMFromSCMTask"),
    row(SourcePackage, "multiple spec files found", "kojid BuildRoot.rebuild_srpm, BuildSRPMFromSCMTask"),
    row(SourcePackage, " is not allowed to be set in spec file", "kojid spec_sanity_checks"),
    row(SourcePackage, " is not allowed to be defined in spec file", "kojid spec_sanity_checks"),
    row(SourcePackage, "srpm name mismatch:", "kojid RebuildSRPM, BuildSRPMFromSCMTask"),
    // ---- A target, tag or repository that is gone or does not fit, and waiting for one.
    row(InputVanished, "unsuccessfully waited *", "koji/util.py RepoWatcher"),
    row(InputVanished, "repo request no longer active", "koji/util.py RepoWatcher"),
    row(InputVanished, "failed at_event request", "koji/util.py RepoWatcher"),
    row(InputVanished, "unknown build target", "kojid BuildTask"),
    row(InputVanished, "invalid build target", "koji/tasks.py WaitrepoTask of Koji 1.34 and before"),
    row(InputVanished, "neither tag nor target", "kojid BuildTask"),
    row(InputVanished, "bad repo:", "kojid BuildTask"),
    row(InputVanished, "repo/target mismatch", "kojid BuildTask"),
    row(InputVanished, "tag/repo mismatch", "kojid BuildRoot._new"),
    row(InputVanished, "requested repo (*) is ", "kojid BuildRoot._new"),
    row(InputVanished, "could not get config info for tag", "kojid BuildRoot._new"),
    row(InputVanished, "a repo id must be provided", "kojid BuildRoot._new, BuildArchTask, RebuildSRPM"),
    row(InputVanished, "a repo_id must be provided", "kojid BuildMavenTask"),
    row(InputVanished, "no repo for tag", "kojid MavenTask"),
    row(InputVanished, "no repo (and no target) for tag", "koji/tasks.py getRepo of Koji 1.34 and before"),
    row(InputVanished, "repo directory missing", "kojid CreaterepoTask"),
    row(InputVanished, "no arches for tag", "kojid BuildTask.getArchList"),
    row(InputVanished, "no arch list for tag", "koji/tasks.py find_arch"),
    row(InputVanished, "no such build target", "kojihub lookup_build_target"),
    row(InputVanished, "no such repo", "kojid BuildTask, kojihub repo_info"),
    row(InputVanished, "no such tag", "kojihub get_tag"),
    row(InputVanished, "invalid taginfo", "kojihub get_tag"),
    // ---- Policy, permission, configuration, and requests that cannot be met.
    row(Refused, "policy violation", "kojihub check_policy"),
    row(Refused, "no policy match", "kojihub check_policy"),
    row(Refused, "invalid channel policy", "kojihub make_task"),
    row(Refused, "invalid priority policy", "kojihub make_task"),
    row(Refused, "no volume policy match", "kojihub check_volume_policy"),
    row(Refused, "policy returned no such", "kojihub check_volume_policy"),
    row(Refused, "no such policy", "kojihub PolicyTest"),
    row(Refused, "you must be logged in", "kojihub/auth.py assertLogin"),
    row(Refused, "logins by * are not allowed", "kojihub/auth.py checkLoginAllowed"),
    row(Refused, "requires an exclusive session", "kojihub Host.verify"),
    row(Refused, "package * not in list for tag", "kojid BuildTask"),
    row(Refused, "package * is blocked for tag", "kojid BuildTask"),
    row(Refused, "arch_override is only allowed for scratch builds", "kojid BuildTask"),
    row(Refused, "custom_user_metadata must be", "kojid BuildTask"),
    row(Refused, "invalid source specification", "kojid BuildTask.getSRPM"),
    row(Refused, "not a source package", "kojid readSRPMHeader, BuildArchTask"),
    row(Refused, "no matching arches were found", "kojid BuildTask.getArchList"),
    row(Refused, "no valid arches were found", "kojid BuildTask.choose_taskarch"),
    row(Refused, "invalid arch for build tag", "kojid"),
    row(Refused, " is not in the list of allowed scms", "koji/daemon.py SCM.assert_allowed"),
    row(Refused, "scm: * is not allowed, reason", "koji/daemon.py SCM.assert_allowed_by_policy"),
    row(Refused, "tag is not configured properly", "kojid BuildRoot.writeMockConfig"),
    // ---- The builder: chroot, mounts, disk, memory, the host itself.
    row(Builder, "could not init mock buildroot", "kojid BuildRoot.init: the chroot holds the build group only"),
    row(Builder, "mock was killed by signal", "koji/util.py parseStatus"),
    row(Builder, "mock terminated for unknown reasons", "koji/util.py parseStatus"),
    row(Builder, "error retrieving sources, mock", "kojid BuildRoot.build_srpm"),
    row(Builder, "error installing packages, mock", "kojid BuildMavenTask"),
    row(Builder, "failed to get a buildroot id", "kojid BuildRoot._new"),
    row(Builder, "can't get list of installed rpms", "kojid BuildRoot.getPackageList"),
    row(Builder, "no origin for ", "kojid BuildRoot.markExternalRPMs"),
    row(Builder, "unknown origin for ", "kojid BuildRoot.markExternalRPMs"),
    row(Builder, "payloadhash: * mismatch", "kojid BuildRoot.markExternalRPMs"),
    row(Builder, "the build system failed to set the ", "kojid BuildArchTask.srpm_sanity_checks"),
    row(Builder, "could not find a built srpm", "kojid BuildTask.runBuilds"),
    row(Builder, "multiple builds returned a srpm", "kojid BuildTask.runBuilds"),
    row(Builder, "no srpm files found for task", "kojid BuildArchTask: mock had succeeded"),
    row(Builder, "multiple srpm files found for task", "kojid BuildArchTask: mock had succeeded"),
    row(Builder, "no srpms found in ", "kojid RebuildSRPM: mock had succeeded"),
    row(Builder, "multiple srpms found in ", "kojid RebuildSRPM: mock had succeeded"),
    row(Builder, "umount failed", "koji/tasks.py umount_all"),
    row(Builder, "unmounting incomplete", "koji/tasks.py umount_all"),
    row(Builder, "failed to remove directory", "koji/util.py rmtree"),
    row(Builder, "rmtree process ", "koji/util.py rmtree"),
    row(Builder, "cwd changed unexpectedly", "koji/util.py rmtree"),
    row(Builder, "resulted in different cwd", "koji/util.py rmtree"),
    row(Builder, "no arch list for this host", "koji/tasks.py find_arch"),
    row(Builder, "host * does not support any arches", "koji/tasks.py find_arch"),
    row(Builder, "subtasks timed out", "koji/tasks.py BaseTaskHandler.wait"),
    row(Builder, "method \"* is not supported", "koji/tasks.py BaseTaskHandler"),
    row(Builder, "invalid task * (pid ", "koji/daemon.py TaskManager"),
    row(Builder, "no pid for task", "koji/daemon.py TaskManager"),
    row(Builder, "host mismatch", "kojihub Host.verify, koji/tasks.py"),
    row(Builder, "is not a host", "kojihub Host"),
    row(Builder, "does not own task", "kojihub Task.assertHost"),
    row(Builder, "does not have lock on buildroot", "kojihub BuildRoot.verifyTask"),
    row(Builder, "not owner of buildroot", "kojihub BuildRoot.verifyHost"),
    row(Builder, "buildroot * in wrong state", "kojihub BuildRoot.setList"),
    row(Builder, "buildroot * is expired", "kojihub BuildRoot.setState"),
    row(Builder, "unable to get state for buildroot", "kojihub BuildRoot.setState"),
    row(Builder, "not a standard buildroot", "kojihub BuildRoot"),
    row(Builder, "no space left on device", "errno ENOSPC"),
    row(Builder, "disk quota exceeded", "errno EDQUOT"),
    row(Builder, "cannot allocate memory", "errno ENOMEM"),
    row(Builder, "memoryerror", "Python MemoryError"),
    row(Builder, "read-only file system", "errno EROFS"),
    row(Builder, "input/output error", "errno EIO"),
    row(Builder, "stale file handle", "errno ESTALE"),
    row(Builder, "stale nfs file handle", "errno ESTALE"),
    row(Builder, "device or resource busy", "errno EBUSY"),
    row(Builder, "resource temporarily unavailable", "errno EAGAIN"),
    row(Builder, "too many open files", "errno EMFILE, ENFILE"),
    row(Builder, "directory not empty", "errno ENOTEMPTY"),
    row(Builder, "transport endpoint is not connected", "errno ENOTCONN: a mount that is gone"),
    row(Builder, "permission denied", "errno EACCES"),
    row(Builder, "operation not permitted", "errno EPERM"),
    // ---- The hub, its files, and what lies between it and the builder.
    row(Hub, "srpm file missing", "kojid BuildArchTask, RebuildSRPM"),
    row(Hub, "upload checksum failed", "koji/__init__.py fastUpload"),
    row(Hub, "uploaded file has wrong checksum", "koji/__init__.py fastUpload"),
    row(Hub, "uploaded file is wrong length", "koji/__init__.py fastUpload"),
    row(Hub, "file upload failed", "koji/__init__.py fastUpload"),
    row(Hub, "wrong chunk size", "koji/__init__.py fastUpload"),
    row(Hub, "error uploading file", "koji/__init__.py uploadFile"),
    row(Hub, "corrupted upload", "kojihub"),
    row(Hub, "file size mismatch", "kojihub import_archive"),
    row(Hub, "file checksum mismatch", "kojihub import_archive"),
    row(Hub, "doesn't match expected size", "koji/__init__.py downloadFile"),
    row(Hub, "downloaded rpm * is corrupted", "koji/__init__.py downloadFile"),
    row(Hub, "no access method for remote file", "koji/__init__.py openRemoteFile"),
    row(Hub, "rpm's header can't be ", "koji/__init__.py check_rpm_file"),
    row(Hub, "invalid rpm: bad magic", "koji/__init__.py find_rpm_sighdr"),
    row(Hub, "invalid rpm header", "koji/__init__.py RawHeader"),
    row(Hub, "is not a regular file", "kojihub import_build_log, import_archive"),
    row(Hub, "not a regular file:", "kojihub"),
    row(Hub, "destination exists", "koji/util.py safer_move"),
    row(Hub, "no such ", "kojihub look-ups (task, target, repo, tag, host, channel, rpm, file); errno ENOENT"),
    row(Hub, "not in init state", "kojid CreaterepoTask"),
    row(Hub, "failed to create repo", "kojid CreaterepoTask"),
    row(Hub, "failed to merge repos", "kojid CreaterepoTask"),
    row(Hub, "parent task (id *) is not open", "kojihub make_task"),
    row(Hub, "invalid parent task", "kojihub make_task"),
    row(Hub, "cannot free task", "kojihub Task.free"),
    row(Hub, "task loop at task", "kojihub Task.cancelFull"),
    row(Hub, "task * is not finished", "kojihub Task.getResult"),
    row(Hub, "task * is not open", "kojihub"),
    row(Hub, "invalid method:", "kojihub"),
    row(Hub, "unable to retry call", "kojihub/auth.py"),
    row(Hub, "invalid session or bad credentials", "kojihub/auth.py"),
    row(Hub, "session * has expired", "kojihub/auth.py"),
    row(Hub, "server is offline", "kojihub/kojixmlrpc.py"),
    row(Hub, "database outage", "kojihub/kojixmlrpc.py"),
    row(Hub, "operationalerror", "psycopg2"),
    row(Hub, "deadlock detected", "PostgreSQL"),
    row(Hub, "the database system is ", "PostgreSQL"),
    row(Hub, "could not connect to server", "PostgreSQL"),
    row(Hub, "server closed the connection", "PostgreSQL"),
    row(Hub, "could not obtain lock", "PostgreSQL"),
    row(Hub, "error running * command ", "koji/daemon.py SCM.checkout"),
    row(Hub, "backend fetch failed", "Varnish, 503"),
    row(Hub, "service unavailable", "HTTP 503"),
    row(Hub, "service temporarily unavailable", "HTTP 503"),
    row(Hub, "bad gateway", "HTTP 502"),
    row(Hub, "gateway time", "HTTP 504"),
    row(Hub, "proxy error", "HTTP 502"),
    row(Hub, "internal server error", "HTTP 500"),
    row(Hub, "http error ", "Python urllib"),
    row(Hub, " server error:", "Python requests"),
    row(Hub, " client error:", "Python requests"),
    row(Hub, "protocolerror", "Python xmlrpc"),
    row(Hub, "expaterror", "Python xmlrpc: an answer that was cut off"),
    row(Hub, "connectionerror", "Python requests"),
    row(Hub, "max retries exceeded", "Python urllib3"),
    row(Hub, "incompleteread", "Python http"),
    row(Hub, "badstatusline", "Python http"),
    row(Hub, "remote end closed connection", "Python http"),
    row(Hub, "connection reset by peer", "errno ECONNRESET"),
    row(Hub, "connection refused", "errno ECONNREFUSED"),
    row(Hub, "connection aborted", "errno ECONNABORTED"),
    row(Hub, "connection timed out", "errno ETIMEDOUT"),
    row(Hub, "read timed out", "Python urllib3"),
    row(Hub, "operation timed out", "OpenSSL, libcurl"),
    row(Hub, "broken pipe", "errno EPIPE"),
    row(Hub, "no route to host", "errno EHOSTUNREACH"),
    row(Hub, "network is unreachable", "errno ENETUNREACH"),
    row(Hub, "name or service not known", "getaddrinfo"),
    row(Hub, "name resolution", "getaddrinfo"),
    row(Hub, "could not resolve host", "libcurl"),
    row(Hub, "certificate verify failed", "OpenSSL"),
    row(Hub, "sslerror", "Python ssl"),
    // ---- Words that Koji uses only about itself. Other texts with these words are no evidence
    // about a package either.
    row(Hub, "timed out", "Koji and Python, of waiting"),
    row(Hub, "offline", "Koji, of the hub and of builders"),
    row(Hub, "upload", "Koji, of files on their way to the hub"),
    row(Hub, "checksum", "Koji, of files"),
    row(Hub, "database", "kojihub/db.py, PostgreSQL"),
    row(Hub, "psycopg2", "Python's PostgreSQL driver"),
    row(Hub, "urlopen error", "Python urllib"),
    row(Hub, "does not exist", "Koji, of what it looks up"),
    row(Hub, "doesn't exist", "Koji, of what it looks up"),
    row(Hub, " not found", "Koji, of what it looks up; HTTP 404"),
    row(Hub, "file missing", "Koji, of files on the hub"),
    row(Hub, "files missing", "Koji, of files on the hub"),
    row(Hub, "missing from the filesystem", "kojid createDistRepo"),
    row(Hub, "parent task", "kojihub"),
    row(Refused, "policy", "Koji, of the hub's policies"),
    row(Hub, "session", "kojihub/auth.py"),
    row(Refused, "credential", "kojihub/auth.py, GSSAPI"),
    row(Refused, "certificate", "kojihub/auth.py, TLS"),
    row(Refused, "kerberos", "kojihub/auth.py"),
    row(Refused, "gssapi", "kojihub/auth.py"),
    row(InputVanished, "build target", "Koji, of targets"),
    row(InputVanished, "unknown target", "Koji, of targets"),
    row(InputVanished, " repo ", "Koji, of repositories"),
    row(InputVanished, "repository", "Koji, of repositories"),
    row(Builder, "umount", "Koji, of file systems in the chroot"),
    row(Builder, "unmount", "Koji, of file systems in the chroot"),
    row(Builder, "was killed by signal", "koji/util.py parseStatus"),
    row(Builder, "out of memory", "the kernel"),
    row(Builder, "disk full", "errno ENOSPC in other words"),
    row(Builder, "no matching hosts", "koji/tasks.py RestartHostsTask"),
    row(Builder, "no suitable host", "kojihub/scheduler.py"),
    row(Builder, "buildroot", "Koji, of chroots: their making, state and contents"),
];

/// Classifies a lower-case text. Returns `None` if nothing is known about it. `of_source` says that
/// the failed step makes the source package.
pub(super) fn class_of(text: &str, of_source: bool) -> Option<FaultClass> {
    // kojid's own sentence about building is clear, even if names in it resemble other texts.
    let building = text.starts_with("error building package (") || text.starts_with("error building srpm, ");
    let by_mock = || class_by_mock(text, of_source);
    building.then(by_mock).flatten().or_else(|| class_by_text(text)).or_else(by_mock)
}

/// Returns the class of the first row that matches a lower-case text.
fn class_by_text(text: &str) -> Option<FaultClass> {
    TEXTS.iter().find(|row| fits(row.text, text)).map(|row| row.class)
}

/// Checks whether the pieces of `pattern` follow one another in `text`.
fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|piece| {
        let found = rest.split_once(piece);
        found.inspect(|(_, after)| rest = after).is_some()
    })
}

/// Classifies mock's exit statuses. The source is the list of result codes in mock's
/// `mockbuild/exception.py`. The comments below quote its words.
const fn class_by_status(status: u16) -> FaultClass {
    match status {
        // "Something happened, it's bad" is the status of rpmbuild's own failure. "Problem building
        // the package".
        1 | 10 => Build,
        // "Yum emitted an error", "unknown external dependency". The chroot was complete before
        // that, so the build requirements are the cause.
        30 | 31 => Dependencies,
        // "Some error in the package we're building".
        40 => SourcePackage,
        // mock was not run by its wrapper, or its configuration, command line or architecture is
        // wrong.
        2 | 3 | 5 | 6 => Builder,
        // An error in the chroot, in LVM, or in a command of mock.
        20 | 25 | 50 => Builder,
        // A locked buildroot or LVM pool, the result directory, namespaces, bootstrap, state
        // functions, or weak dependencies of the chroot.
        60 | 65 | 70 | 80 | 90 | 110 | 120 => Builder,
        // Ended by a signal (128 plus its number). mock names those for hang-up, broken pipe and
        // termination.
        129..=159 => Builder,
        // 11 (command timed out) may be due to the package or to a slow builder. 0 and 4 make no
        // sense here. All other statuses are undocumented.
        _ => Unknown,
    }
}

/// Classifies by mock's exit status, which kojid puts into the text: `error building package (arch
/// x86_64), mock exited with status 30; …`. `of_source` says that the step makes the source
/// package. No build requirements are installed for that.
fn class_by_mock(text: &str, of_source: bool) -> Option<FaultClass> {
    let (doing, rest) = text.split_once("mock exited with status ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
    let class = digits.parse().map_or(Unknown, class_by_status);
    let source = of_source || doing.contains("error building srpm");
    // A status of mock is evidence about the package only if kojid was building it.
    let building = doing.trim().is_empty() || doing.contains("error building ");
    Some(match class {
        Dependencies if source => Builder,
        Build | Dependencies | SourcePackage if !building => Unknown,
        Build if source => SourcePackage,
        class => class,
    })
}

/// Classifies by Koji's fault code alone. Source: `faultCode` of the exceptions in
/// `koji/__init__.py`.
pub(super) const fn class_by_code(code: i64) -> FaultClass {
    match code {
        // Locks, sessions, retries, offline: LockError, AuthLockError, AuthExpired, SequenceError, RetryError,
        // ServerOffline.
        1001 | 1006..=1009 | 1014 => Hub,
        // AuthError, ActionNotAllowed, ParameterError, ConfigurationError, GSSAPIAuthError, NameValidationError.
        1002 | 1004 | 1019 | 1021 | 1023 | 1024 => Refused,
        // TagError: the tag or target has changed since the request.
        1003 => InputVanished,
        // BuildrootError: the chroot failed, not the build in it.
        1012 => Builder,
        // FunctionDeprecated, PluginError, CallbackError, ImportError.
        1013 | 1016 | 1017 | 1020 => Hub,
        // GenericError, BuildError, PreBuildError, PostBuildError, and exceptions raised for images
        // only.
        1000..=1999 => Unknown,
        // 1 is any unexpected exception in Koji's own code, on hub or builder. Other codes are not
        // Koji's.
        _ => Hub,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_whole_and_reached() {
        let mut seen = BTreeSet::new();
        for (i, row) in TEXTS.iter().enumerate() {
            assert!(!row.source.is_empty() && row.text == row.text.to_ascii_lowercase(), "{row:?}");
            assert!(row.text.trim().len() >= 4 && seen.insert(row.text), "{row:?}");
            let text = row.text.replace('*', " 17 ");
            let first = TEXTS.iter().position(|r| fits(r.text, &text)).unwrap();
            assert!(first == i || TEXTS[first].class == row.class, "{:?} hides {row:?}", TEXTS[first]);
        }
    }

    #[test]
    fn pieces_follow_one_another() {
        assert!(fits("requested repo (*) is ", "x: requested repo (17) is deleted"));
        assert!(!fits("requested repo (*) is ", ") is requested repo (17"));
    }
}
