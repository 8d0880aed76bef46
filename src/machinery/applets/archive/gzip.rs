//! `gzip` and its other names.

use super::super::reason;
use super::gunzip::Gunzip;
use crate::arguments_as_text;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

#[derive(Debug, Default, PartialEq, Eq)]
struct Zip {
    decompress: bool,
    /// `-t`: what it decompresses is thrown away.
    test: bool,
    to_stdout: bool,
    keep: bool,
    force: bool,
    level: u32,
    files: Vec<String>,
}

fn parse_gzip(args: &[String], mut zip: Zip) -> Result<Zip, char> {
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-').filter(|l| !l.is_empty()) {
            None => zip.files.push(word.clone()),
            Some("-") => zip.files.extend(words.by_ref().cloned()), // what follows is no option
            Some(letters) => {
                for letter in letters.chars() {
                    match letter {
                        'd' => zip.decompress = true,
                        't' => (zip.decompress, zip.test) = (true, true),
                        'c' => zip.to_stdout = true,
                        'k' => zip.keep = true,
                        'f' => zip.force = true,
                        '1'..='9' => zip.level = u32::from(letter) - u32::from('0'),
                        'n' | 'q' | 'v' => {}
                        other => return Err(other),
                    }
                }
            }
        }
    }
    Ok(zip)
}

/// `gzip`, and under other names `gunzip` and `zcat`.
pub(crate) fn gzip(args: Vec<OsString>) -> i32 {
    let name = args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().to_string();
    let zcat = name == "zcat";
    let start = Zip { decompress: zcat || name == "gunzip", to_stdout: zcat, level: 6, ..Zip::default() };
    let mut zip = match parse_gzip(&arguments_as_text(args), start) {
        Ok(zip) => zip,
        Err(letter) => {
            eprintln!("{name}: unrecognized option: {letter}\nUsage: {name} [-cdfkt1-9] [FILE]...");
            return 1;
        }
    };
    if zip.files.is_empty() {
        zip.files.push("-".into());
    }
    let mut code = 0;
    for file in &zip.files {
        if let Err(e) = gzip_one(&zip, file) {
            eprintln!("{name}: {file}: {}", reason(&e));
            code = 1;
        }
    }
    code
}

fn gzip_one(zip: &Zip, name: &str) -> io::Result<()> {
    if zip.test {
        return if name == "-" {
            convert(zip, io::stdin(), io::sink())
        } else {
            convert(zip, File::open(name)?, io::sink())
        };
    }
    if name == "-" {
        return convert(zip, io::stdin(), io::stdout());
    }
    let input = File::open(name)?;
    if zip.to_stdout {
        return convert(zip, input, io::stdout());
    }
    let target = match (zip.decompress, name.strip_suffix(".tgz"), name.strip_suffix(".gz")) {
        (false, _, _) => format!("{name}.gz"),
        (true, Some(stem), _) => format!("{stem}.tar"),
        (true, _, Some(stem)) => stem.to_string(),
        (true, None, None) => return Err(io::Error::other("unknown suffix")),
    };
    // A link or a device would go with the name, and its content stay as it is.
    if !std::fs::symlink_metadata(name)?.is_file() {
        return Err(io::Error::other("not a regular file -- ignored"));
    }
    if zip.force
        && let Err(e) = std::fs::remove_file(&target)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e); // written over in place, a link would lead somewhere else
    }
    // No other user may read the output before it has the rights of the input.
    let output = File::options().write(true).mode(0o600).create_new(true).open(&target)?;
    let converted = convert(zip, &input, &output).and_then(|()| take_over(&input, &output));
    if let Err(e) = converted {
        let _ = std::fs::remove_file(&target); // half a file is worse than none
        return Err(e);
    }
    if zip.keep { Ok(()) } else { std::fs::remove_file(name) }
}

/// Gives a file the owner, the rights and the time of another one.
fn take_over(from: &File, to: &File) -> io::Result<()> {
    let found = from.metadata()?;
    // This fails for all users but root.
    let _ = std::os::unix::fs::fchown(to, Some(found.uid()), Some(found.gid()));
    to.set_permissions(Permissions::from_mode(found.mode() & 0o777))?;
    to.set_times(FileTimes::new().set_modified(found.modified()?))
}

fn convert(zip: &Zip, input: impl Read, mut output: impl Write) -> io::Result<()> {
    if zip.decompress {
        io::copy(&mut Gunzip::new(BufReader::new(input)), &mut output)?;
    } else {
        let mut gzip = GzEncoder::new(&mut output, Compression::new(zip.level));
        io::copy(&mut BufReader::new(input), &mut gzip)?;
        gzip.finish()?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn gzip_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        std::fs::write(at("f"), "new").unwrap();
        std::fs::write(at("other"), "other").unwrap();
        std::os::unix::fs::symlink(at("other"), at("f.gz")).unwrap();
        std::os::unix::fs::symlink(at("other"), at("link")).unwrap();
        let zip = Zip { keep: true, force: true, level: 6, ..Zip::default() };
        assert!(gzip_one(&zip, &at("link")).is_err());
        gzip_one(&zip, &at("f")).unwrap();
        assert_eq!(std::fs::read_to_string(at("other")).unwrap(), "other");
        assert!(std::fs::symlink_metadata(at("f.gz")).unwrap().is_file());
    }

    #[test]
    fn gzip_keeps_rights_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("f").to_str().unwrap().to_string();
        std::fs::write(&name, "secret").unwrap();
        std::fs::set_permissions(&name, Permissions::from_mode(0o640)).unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(&name).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
        let mut zip = Zip { level: 6, ..Zip::default() };
        for (from, to) in [(name.clone(), format!("{name}.gz")), (format!("{name}.gz"), name.clone())] {
            gzip_one(&zip, &from).unwrap();
            let found = std::fs::metadata(&to).unwrap();
            assert_eq!((found.mode() & 0o7777, found.modified().unwrap()), (0o640, then), "{to}");
            zip.decompress = true;
        }
    }

    #[test]
    fn gzip_replaces_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("f").to_str().unwrap().to_string();
        std::fs::write(&name, "hello").unwrap();
        let mut zip = Zip { level: 6, ..Zip::default() };
        gzip_one(&zip, &name).unwrap();
        assert!(!Path::new(&name).exists());
        zip.decompress = true;
        gzip_one(&zip, &format!("{name}.gz")).unwrap();
        assert_eq!(std::fs::read_to_string(&name).unwrap(), "hello");
    }

    #[test]
    fn a_test_reads_all_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("f").to_str().unwrap().to_string();
        std::fs::write(&name, "hello").unwrap();
        gzip_one(&Zip { level: 6, ..Zip::default() }, &name).unwrap();
        let packed = format!("{name}.gz");
        let zip = parse_gzip(&["-t".to_string()], Zip::default()).unwrap();
        gzip_one(&zip, &packed).unwrap();
        assert!(!Path::new(&name).exists() && Path::new(&packed).exists());
        let bytes = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &bytes[..bytes.len() - 3]).unwrap();
        assert!(gzip_one(&zip, &packed).is_err());
    }

    #[test]
    fn two_dashes_end_the_options() {
        let zip = Zip { level: 6, ..Zip::default() };
        let words = ["-9", "--", "-d", "--", "f"].map(String::from);
        let zip = parse_gzip(&words, zip).unwrap();
        assert_eq!(
            (zip.level, zip.decompress, zip.files),
            (9, false, ["-d", "--", "f"].map(String::from).to_vec())
        );
    }
}
