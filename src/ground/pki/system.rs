//! The authorities that the machine trusts.

use super::authorities::Authorities;
use super::foreign::SERVERS;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The files in which distributions keep the authorities they trust. The first one that can be read
/// counts, as in Go's `crypto/x509`.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
    "/etc/ssl/cert.pem",
];

/// The directories in which distributions keep authorities. Every file counts.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The machine's authorities: hundreds of files, which are read once, as in Go.
pub(super) static SYSTEM: LazyLock<Authorities> = LazyLock::new(system);

fn system() -> Authorities {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    let files = match named("SSL_CERT_FILE") {
        Some(file) => vec![PathBuf::from(file)],
        None => SYSTEM_FILES.map(PathBuf::from).to_vec(),
    };
    let directories = match named("SSL_CERT_DIR") {
        Some(list) => std::env::split_paths(&list).collect(),
        None => SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(),
    };
    authorities(&files, &directories).only_for(SERVERS)
}

/// Returns the authorities of the first file that can be read, and of all files of the directories,
/// each once: a bundle often has the directory's files, too. What cannot be read is left out, as in
/// Go.
fn authorities(files: &[PathBuf], directories: &[PathBuf]) -> Authorities {
    let mut all = Authorities::empty();
    if let Some(pem) = files.iter().find_map(|file| std::fs::read(file).ok()) {
        all.add_parsable(&pem);
    }
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let files = entries.flatten().map(|entry| entry.path()).filter(|path| !is_link_within(path));
        files.filter_map(|file| std::fs::read(file).ok()).for_each(|pem| all.add_parsable(&pem));
    }
    all
}

/// Returns true for a link to a file of the same directory, as `c_rehash` makes them.
fn is_link_within(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|to| to.components().count() == 1 && !to.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ca;

    #[test]
    fn the_authorities_of_the_machine_are_those_of_a_file_and_of_directories() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let at = dir.path().join(name);
            std::fs::create_dir(&at).unwrap();
            Ca::load_or_create(&at, "ca").unwrap().pem().to_string()
        };
        let [one, two, three] = ["a", "b", "c"].map(made);
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("certs")).unwrap();
        std::fs::write(at("first.pem"), &one).unwrap();
        std::fs::write(at("second.pem"), &three).unwrap();
        std::fs::write(at("certs/two.pem"), one.clone() + &two).unwrap();
        std::fs::write(at("certs/README"), "no certificate").unwrap();
        std::os::unix::fs::symlink("two.pem", at("certs/0a1b2c3d.0")).unwrap();
        let count = |files: &[&str], directories: &[&str]| {
            let paths = |names: &[&str]| names.iter().map(|name| at(name)).collect::<Vec<_>>();
            authorities(&paths(files), &paths(directories)).count()
        };
        assert_eq!(count(&["missing.pem", "first.pem", "second.pem"], &[]), 1);
        assert_eq!(count(&["first.pem", "second.pem"], &["missing", "certs"]), 2);
        assert_eq!(count(&["second.pem"], &["certs"]), 3);
        assert_eq!(count(&["missing.pem"], &["certs"]), 2);
    }
}
