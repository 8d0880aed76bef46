//! The built-in images: nothing is downloaded, every program is this binary under another name.

use super::reference::Reference;
use cri::{Error, Image, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Names that are links to this binary in images that people look around in.
const USERLAND: &[&str] = &[
    "[",
    "ash",
    "awk",
    "base64",
    "basename",
    "bash",
    "cat",
    "chmod",
    "chown",
    "clear",
    "cp",
    "curl",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "fgrep",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "hd",
    "head",
    "hexdump",
    "hostname",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "less",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "more",
    "mv",
    "nc",
    "netstat",
    "nl",
    "nproc",
    "nslookup",
    "od",
    "ping",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stress",
    "sync",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "top",
    "touch",
    "tr",
    "true",
    "uname",
    "uniq",
    "uptime",
    "watch",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

/// A built-in image.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Normalized, without tag.
    pub name: &'static str,
    /// The first one is this image's own; the directory of its layer is named by it.
    pub tags: &'static [&'static str],
    /// The program and its first arguments (`ENTRYPOINT`).
    pub entrypoint: &'static [&'static str],
    /// The arguments that a pod's `args` replaces (`CMD`).
    pub command: &'static [&'static str],
    /// Names and values (`ENV`), beside `PATH`.
    pub env: &'static [(&'static str, &'static str)],
    /// TCP ports (`EXPOSE`), for readers only: they open nothing.
    pub exposed_ports: &'static [u16],
    /// The name of the signal that asks it to end (`STOPSIGNAL`), e.g. `SIGQUIT`.
    pub stop_signal: &'static str,
    /// The number of the user that its program runs as, unless the pod names one (`USER`).
    /// Upstream's kubelet hands on the number alone, so its group is what /etc/passwd says, else 0.
    pub user: u32,
    /// Directory of the links, from the root.
    pub links_in: &'static str,
    /// Names that lead to this program, each an applet, e.g. `ls`.
    pub links: &'static [&'static str],
    /// Further programs beside the links and the one that it starts.
    pub programs: &'static [&'static str],
    /// Symbolic links: paths from the root, and where each leads. Scripts and commands name
    /// programs by the paths of the real image, e.g. `/usr/bin/env`.
    pub symlinks: &'static [(&'static str, &'static str)],
    /// Directories, from the root, beside those that every image has.
    pub directories: &'static [&'static str],
    /// Path from the root and content.
    pub files: Vec<(&'static str, String)>,
}

fn base(name: &'static str, tags: &'static [&'static str]) -> Definition {
    Definition {
        name,
        tags,
        entrypoint: &[],
        command: &[],
        env: &[],
        exposed_ports: &[],
        stop_signal: "SIGTERM",
        user: 0,
        links_in: "bin",
        links: USERLAND,
        programs: &[],
        // busybox' image has this one program in /usr/bin (docker-library/busybox#156).
        symlinks: &[("usr/bin/env", "../../bin/env"), ("var/run", "../run")],
        directories: &["home"],
        files: vec![
            ("etc/passwd", passwd("")),
            ("etc/group", group("")),
            ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".into()),
        ],
    }
}

/// `/etc/passwd` with a line of an image's own, and with the system users of the real images: their
/// numbers have groups, which a process of `runAsUser` gets.
fn passwd(own: &str) -> String {
    format!(
        "root:x:0:0:root:/root:/bin/sh\n\
         www-data:x:33:33:www-data:/var/www:/bin/false\n\
         {own}nobody:x:65534:65534:nobody:/:/bin/false\n"
    )
}

/// `/etc/group` with a line of an image's own.
fn group(own: &str) -> String {
    format!("root:x:0:\ntty:x:5:\nwww-data:x:33:\n{own}nogroup:x:65534:\n")
}

fn nginx(tags: &'static [&'static str], version: &'static str) -> Definition {
    let mut image = base("docker.io/library/nginx", tags);
    image.command = &["nginx", "-g", "daemon off;"];
    image.exposed_ports = &[80];
    image.stop_signal = "SIGQUIT";
    // As in Debian, from which the real image is made: /bin and /usr/bin are the same there.
    image.symlinks = &[("usr/bin", "../bin"), ("usr/sbin/nginx", "../../bin/nginx"), ("var/run", "../run")];
    image.directories = &["home", "media", "mnt", "opt", "srv", "usr/local/bin", "usr/local/sbin", "var/lib"];
    image.files = vec![
        ("etc/passwd", passwd("nginx:x:101:101:nginx:/nonexistent:/bin/false\n")),
        ("etc/group", group("nginx:x:101:\n")),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".into()),
        ("etc/nginx/conf.d/default.conf", NGINX_CONF.into()),
        ("usr/share/nginx/html/index.html", welcome(version)),
    ];
    image
}

const NGINX_CONF: &str = "\
server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
";

fn welcome(version: &str) -> String {
    format!(
        "<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page comes from a real process in a real container of your Ropewalk cluster.</p>
<p>The program is Ropewalk's own small web server, in Ropewalk's built-in nginx image, version {version}; it is not
the nginx of nginx.org, but it listens, logs and stops like it.</p>
</body>
</html>
"
    )
}

/// Returns the table of the built-in images.
pub fn definitions() -> Vec<Definition> {
    let mut broken = nginx(&["broken"], "broken");
    for (path, content) in &mut broken.files {
        if *path == "etc/nginx/conf.d/default.conf" {
            *content = NGINX_CONF.replace("listen 80;", "lissten 80;"); // so it ends at once, and its log says why
        }
    }
    let mut busybox =
        base("docker.io/library/busybox", &["1.37", "latest", "1.28", "1.35", "1.36", "1.36.1", "stable"]);
    (busybox.command, busybox.programs) = (&["sh"], &["busybox"]);
    let mut echo = base("docker.io/library/echo", &["1.0", "latest"]);
    echo.entrypoint = &["echo-server"];
    echo.exposed_ports = &[8080];
    let mut kv = base("docker.io/library/kv", &["1.0", "latest"]);
    // A command, so that `kubectl run … --image=kv -- kv-cli -h db` runs the client.
    (kv.command, kv.programs, kv.exposed_ports) = (&["kv-server"], &["kv-cli"], &[6379]);
    let mut page = base("docker.io/library/shop-page", &["1.0", "latest"]);
    (page.command, page.exposed_ports) = (&["shop-page"], &[8080]);
    let mut pause = base("registry.k8s.io/pause", &["3.10", "3.10.1"]);
    (pause.entrypoint, pause.user) = (&["/pause"], 65535); // 65535:65535 in the real one
    (pause.links_in, pause.links, pause.files) = ("", &["pause"], Vec::new());
    pause.symlinks = &[];
    pause.directories = &[];
    let nginxes = [nginx(&["1.27", "latest"], "1.27"), nginx(&["1.26"], "1.26"), broken];
    let logics = [
        shop_logic(&["1.0"], &[("SHOP_VERSION", "1.0")]),
        shop_logic(&["1.1", "latest"], &[("SHOP_VERSION", "1.1")]),
    ];
    nginxes.into_iter().chain([busybox, echo, kv, page]).chain(logics).chain([pause]).collect()
}

fn shop_logic(tags: &'static [&'static str], env: &'static [(&'static str, &'static str)]) -> Definition {
    let mut image = base("docker.io/library/shop-logic", tags);
    (image.command, image.env, image.exposed_ports) = (&["shop-logic"], env, &[8080]);
    image
}

impl Definition {
    /// Returns a digest of everything that the definition says: two runs of one version of this
    /// program agree on it.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(format!("{self:?}"));
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Returns the programs of the image other than the userland.
    fn own_programs(&self) -> impl Iterator<Item = &'static str> {
        let started = self.entrypoint.first().or(self.command.first()).copied();
        let started = started.filter(|p| !p.contains('/') && !self.links.contains(p));
        started.into_iter().chain(self.programs.iter().copied())
    }

    /// Returns the name of its directory among the layers.
    fn directory(&self) -> String {
        let short = self.name.rsplit('/').next().unwrap_or(self.name);
        format!("{short}-{}", self.tags.first().unwrap_or(&"latest"))
    }

    /// Makes its files; programs are hard links to `binary`, so all containers run one inode.
    fn lay_out(&self, layers: &Path, binary: &Path) -> io::Result<()> {
        let root = layers.join(self.directory());
        for tree in [&root, &programs(&root)] {
            let links = tree.join(self.links_in);
            fs::create_dir_all(&links)?;
            for name in self.links.iter().copied().chain(self.own_programs()) {
                fs::hard_link(binary, links.join(name))?;
            }
        }
        if self.links_in.is_empty() {
            return Ok(());
        }
        for (path, to) in self.symlinks {
            let path = root.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            symlink(to, path)?;
        }
        let always = ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var/log"];
        for directory in always.iter().chain(self.directories) {
            fs::create_dir_all(root.join(directory))?; // one that is a link to a directory is there
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))?;
        for (path, content) in &self.files {
            let path = root.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, content)?;
        }
        Ok(())
    }
}

/// Returns where the programs of a layer lie alone, in the same places: a second tree of links to
/// the same inode, for [`super::layers`].
pub(crate) fn programs(layer: &Path) -> PathBuf {
    let mut name = layer.as_os_str().to_os_string();
    name.push(".programs");
    name.into()
}

/// Fills the layers' directory with all built-in images: the `lay_out` of
/// [`linux::boot::supervise`].
///
/// # Errors
/// A file cannot be written, or a program cannot be linked to `binary`.
pub fn lay_out(layers: &Path, binary: &Path) -> io::Result<()> {
    definitions().iter().try_for_each(|image| image.lay_out(layers, binary))
}

/// The images of a running cluster.
pub struct Images {
    layers: PathBuf,
    size: u64,
    table: Vec<Definition>,
}

impl Images {
    /// Makes the table of images. `layers` is the directory that [`lay_out`] filled.
    pub fn new(layers: &Path) -> Images {
        let binary = fs::metadata(layers.join(linux::boot::BINARY));
        Images {
            layers: layers.to_path_buf(),
            size: binary.map(|found| found.len()).unwrap_or(0),
            table: definitions(),
        }
    }

    /// Finds the image that a reference names, e.g. `nginx:1.27`: by tag, or by digest if it has
    /// one.
    ///
    /// # Errors
    /// `BadImageName`: it is no reference. `NoImage`: there is no such image; the error lists those
    /// that there are.
    pub fn find(&self, reference: &str) -> Result<&Definition> {
        let wanted = Reference::parse(reference)?;
        let fits = |image: &&Definition| match &wanted.digest {
            Some(digest) => wanted.name == image.name && *digest == image.id(),
            None => wanted.name == image.name && image.tags.contains(&wanted.tag.as_str()),
        };
        self.table.iter().find(fits).ok_or_else(|| Error::NoImage {
            reference: wanted.to_string(),
            known: self.table.iter().flat_map(familiar).collect(),
        })
    }

    /// Returns all images, as [`Images::describe`] shows them.
    pub fn list(&self) -> Vec<Image> {
        self.table.iter().map(|image| self.describe(image)).collect()
    }

    /// Describes an image as CRI shows it. Its size in bytes is that of the program and of the
    /// image's own files.
    pub fn describe(&self, image: &Definition) -> Image {
        let files: usize = image.files.iter().map(|(_, content)| content.len()).sum();
        let tags = image.tags.iter().map(|tag| format!("{}:{tag}", image.name)).collect();
        Image { id: image.id(), tags, size: self.size + files as u64 }
    }

    /// Returns the root directory of the image's only layer.
    pub fn layer(&self, image: &Definition) -> PathBuf {
        self.layers.join(image.directory())
    }

    /// Returns the root directory of the pause process.
    pub fn pause(&self) -> PathBuf {
        self.layers.join("pause-3.10")
    }
}

/// Returns an image's references as people write them: without `docker.io/library/`.
fn familiar(image: &Definition) -> impl Iterator<Item = String> {
    let name = image.name.trim_start_matches("docker.io/library/");
    image.tags.iter().map(move |tag| format!("{name}:{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_image_is_answered_with_those_there_are() {
        let images = Images::new(Path::new("/nowhere"));
        assert_eq!(
            images.find("nginx").unwrap().id(),
            images.find("docker.io/library/nginx:1.27").unwrap().id()
        );
        let by_digest = format!("nginx@{}", images.find("nginx:1.26").unwrap().id());
        assert_eq!(images.find(&by_digest).unwrap().tags, ["1.26"]);
        let text = images.find("nginx:1.161").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.starts_with("docker.io/library/nginx:1.161: not found"), "{text}");
        assert!(text.contains("nginx:broken") && text.contains("busybox:1.36"), "{text}");
    }

    #[test]
    fn every_link_is_a_program() {
        for image in definitions() {
            for name in image.links.iter().copied().chain(image.own_programs()) {
                assert!(applets::exists(name), "{}: {name} is no applet", image.name);
            }
        }
        assert!(USERLAND.is_sorted() && !applets::exists("ropewalk"));
    }

    #[test]
    fn a_layer_has_one_inode_for_all_programs() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("ropewalk");
        fs::write(&binary, "program").unwrap();
        lay_out(dir.path(), &binary).unwrap();
        let inode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().ino();
        assert_eq!(inode("nginx-1.27/bin/nginx"), inode("busybox-1.37/bin/sh"));
        assert_eq!(inode("pause-3.10/pause"), inode("echo-1.0/bin/echo-server"));
        assert_eq!(inode("kv-1.0/bin/kv-server"), inode("kv-1.0/bin/kv-cli"));
        assert_eq!(inode("shop-page-1.0/bin/shop-page"), inode("shop-logic-1.1/bin/shop-logic"));
        assert!(!dir.path().join("busybox-1.37/bin/kv-cli").exists());
    }

    /// `#!/usr/bin/env bash`, `/usr/sbin/nginx -s reload`, `cat /var/run/nginx.pid`.
    #[test]
    fn an_image_has_the_paths_of_the_real_one() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("ropewalk");
        fs::write(&binary, "program").unwrap();
        lay_out(dir.path(), &binary).unwrap();
        let own = fs::metadata(&binary).unwrap().ino();
        let is_program =
            |path: &str| fs::metadata(dir.path().join(path)).is_ok_and(|found| found.ino() == own);
        for path in [
            "busybox-1.37/bin/busybox",
            "busybox-1.37/usr/bin/env",
            "echo-1.0/usr/bin/env",
            "nginx-1.27/usr/bin/env",
            "nginx-1.27/usr/bin/bash",
            "nginx-1.27/usr/sbin/nginx",
        ] {
            assert!(is_program(path), "{path}");
        }
        assert!(!is_program("busybox-1.37/usr/bin/ls"), "busybox' image has it in /bin alone");
        assert!(!is_program("nginx-1.27/bin/busybox"));
        fs::write(dir.path().join("nginx-1.27/run/nginx.pid"), "7\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("nginx-1.27/var/run/nginx.pid")).unwrap(), "7\n");
        assert!(dir.path().join("nginx-1.27/opt").is_dir() && !dir.path().join("pause-3.10/usr").exists());
    }

    /// `runAsUser: 65534` without `runAsGroup` is not a member of root's group.
    #[test]
    fn system_users_of_every_image_have_their_groups() {
        use super::super::passwd::find;
        for image in definitions().iter().filter(|image| !image.files.is_empty()) {
            let text = &image.files.iter().find(|(path, _)| *path == "etc/passwd").unwrap().1;
            for id in [33, 65534] {
                assert_eq!(find(text, id).map(|user| user.gid), Some(id), "{}", image.name);
            }
        }
        let nginx = nginx(&["x"], "x").files;
        assert_eq!(find(&nginx[0].1, 101).map(|user| user.home), Some("/nonexistent".into()));
        assert!(nginx[1].1.contains("\nnginx:x:101:\nnogroup:x:65534:\n"), "{}", nginx[1].1);
    }
}
