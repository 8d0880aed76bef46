//! The layers of a container's root: its image, and above it what the container writes.

use super::idmap::Users;
use super::images;
use super::spec::Container;
use linux::beneath::Root;
use linux::mount::{self, Attributes, Flags};
use linux::user;
use linux::{Context, Result};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The path of the container's root, from the directory of its layers.
pub(crate) const MERGED: &str = "merged";
/// Files and directories in one writable layer.
const INODES_MAX: u64 = 1 << 18;

/// Mounts the image, and over it a bounded layer of the container's own: a tmpfs that only this
/// container sees, and that goes with it. Paths are relative and `lower` is a link, because mount
/// options end at one page. The directory of the layers becomes the current one; beside them is one
/// that stays empty. For a pod's own users the image is shown as theirs, and what they write
/// belongs to them out here too: overlays have no idmapped mounts, only their layers do.
///
/// # Errors
/// The kernel forbids a mount; a file system has no idmapped mounts.
pub(crate) fn layers(container: &Container, users: Option<&Users>) -> Result<()> {
    let directory = &container.directory;
    let flags = Flags::MS_NOSUID | Flags::MS_NODEV;
    mount::tmpfs(directory, flags, 0o755, container.layer_max, INODES_MAX)?;
    std::env::set_current_dir(directory).during(|| format!("cannot enter {}", directory.display()))?;
    for name in ["upper", "work", MERGED, "empty"] {
        make_dir(Path::new(name))?;
    }
    if let Some(users) = users {
        let image = mount::copy(Root::open(&container.image)?.as_fd(), Attributes::default())?;
        users.show(&image, &container.image)?;
        make_dir(Path::new("lower"))?;
        mount::place(&image, Root::open(Path::new("lower"))?.as_fd())?;
        std::os::unix::fs::chown("upper", Some(users.first), Some(users.first))
            .during(|| "cannot give the writable layer to the pod".into())?;
    } else if !user::keeps_trusted_attributes() && !keeps_user_attributes(&kernel_release()) {
        let programs = images::programs(&container.image);
        copy_files(&container.image, &programs, Path::new("upper"))
            .during(|| format!("cannot copy the files of {}", container.image.display()))?;
        symlink(programs, "lower").during(|| "cannot link the image".into())?;
    } else {
        symlink(&container.image, "lower").during(|| "cannot link the image".into())?;
    }
    let notes = if user::keeps_trusted_attributes() { "" } else { ",userxattr" };
    let options = format!("lowerdir=lower,upperdir=upper,workdir=work{notes}");
    // As of its volumes: a privileged container opens whatever node it makes.
    let flags = if container.privileged { Flags::empty() } else { Flags::MS_NODEV };
    mount::mount("overlay", Path::new(MERGED), flags, &options)
}

/// Returns the release of the kernel, e.g. `6.1.0-18-amd64`; empty if it is not known.
fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Returns whether a tmpfs keeps the extended attributes `user.*`: since Linux 6.6. Without them an
/// overlay in a user namespace can note of no directory that it replaces that of the image, and
/// `rm -r` and `mkdir` of such a directory are `EIO`. Then the image is copied but for its
/// programs, see [`copy_files`]: directories that are in no lower layer need no such note.
fn keeps_user_attributes(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0u32), numbers.next().unwrap_or(0u32)) >= (6, 6)
}

/// Copies an image's directories, links and files to a writable layer, without the files that are
/// among its `programs`: each of them is all of Ropewalk, and stays in the lower layer.
fn copy_files(image: &Path, programs: &Path, layer: &Path) -> io::Result<()> {
    for entry in fs::read_dir(image)? {
        let entry = entry?;
        let (program, to) = (programs.join(entry.file_name()), layer.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &to)?; // not what it leads to, which may be a program
        } else if kind.is_dir() {
            fs::create_dir(&to)?;
            fs::set_permissions(&to, entry.metadata()?.permissions())?; // whatever the umask is
            copy_files(&entry.path(), &program, &to)?;
        } else if !program.try_exists()? {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Makes a directory, and those above it.
///
/// # Errors
/// Something else is there; the layer is full.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).during(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_tmpfs_keeps_attributes_of_users_since_linux_6_6() {
        for release in ["6.6.0", "6.6", "6.12.1-arch1-1", "7.0-rc1", "10.0.0\n"] {
            assert!(keeps_user_attributes(release), "{release}");
        }
        for release in ["6.1.0-18-amd64", "6.5.13", "5.15.0-91-generic", "5.6", ""] {
            assert!(!keeps_user_attributes(release), "{release}");
        }
    }

    #[test]
    fn a_copied_image_is_the_image_without_its_programs() {
        let tmp = tempfile::tempdir().unwrap();
        let (binary, layer) = (tmp.path().join("ropewalk"), tmp.path().join("upper"));
        fs::write(&binary, "program").unwrap();
        fs::create_dir(&layer).unwrap();
        images::lay_out(tmp.path(), &binary).unwrap();
        let image = tmp.path().join("nginx-1.27");
        copy_files(&image, &images::programs(&image), &layer).unwrap();
        let read = |path: &str| fs::read(layer.join(path)).ok();
        let page = "usr/share/nginx/html/index.html";
        assert_eq!(read(page), fs::read(image.join(page)).ok());
        assert!(read(page).is_some() && read("etc/passwd").is_some());
        assert_eq!(fs::read_dir(layer.join("bin")).unwrap().count(), 0, "programs stay where they are");
        for (path, to) in
            [("usr/bin", "../bin"), ("usr/sbin/nginx", "../../bin/nginx"), ("var/run", "../run")]
        {
            assert_eq!(fs::read_link(layer.join(path)).unwrap(), Path::new(to), "{path}");
        }
        let mode = |path: &str| fs::metadata(layer.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("tmp"), mode("root"), mode("var/log")), (0o1777, 0o700, 0o755));
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&images::programs(&image).join("bin/nginx")), inode(&binary));
    }
}
