//! Where the C library looks up the names of users and groups.

/// The databases that getpwnam(3), getgrnam(3), getgrouplist(3) and their like read.
#[cfg(target_env = "gnu")]
const DATABASES: [&std::ffi::CStr; 3] = [c"passwd", c"group", c"initgroups"];

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// Sets the services of a database in place of those that nsswitch.conf(5) names. glibc
    /// declares it in `<nss.h>`; `getent -s` calls it.
    fn __nss_configure_lookup(database: *const libc::c_char, services: *const libc::c_char) -> libc::c_int;
}

/// Makes this process look up users and groups in /etc/passwd and /etc/group only. Otherwise a name
/// that is not there would end it with SIGSEGV where nsswitch.conf(5) names further services, e.g.
/// `files systemd`: glibc loads a shared library for each of them, which a static program cannot
/// use. The service `files` is a part of glibc itself (since 2.34). If glibc refuses, it goes on as
/// nsswitch.conf says. Other C libraries read these files only.
pub fn look_up_in_files_only() {
    #[cfg(target_env = "gnu")]
    {
        for database in DATABASES {
            // SAFETY: both are texts that end in a zero, and glibc copies what it keeps of them.
            unsafe { __nss_configure_lookup(database.as_ptr(), c"files".as_ptr()) };
        }
    }
}
