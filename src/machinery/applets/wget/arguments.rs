//! Reads wget's command line.

use std::cell::Cell;
use std::slice::Iter;
use std::time::Duration;

/// What a call asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub urls: Vec<String>,
    pub quiet: bool,
    /// `-S`: prints the head of each answer.
    pub show_headers: bool,
    /// `--spider`: asks whether the file exists, and saves nothing.
    pub spider: bool,
    /// `-O`: the file, or `-` for standard output.
    pub output: Option<String>,
    /// `-P`: the folder of files that a URL names.
    pub directory: Option<String>,
    /// `-T`: the longest wait for one read; zero means [`super::IDLE`].
    pub timeout: Option<Duration>,
    pub headers: Vec<String>,
    pub agent: Option<String>,
    pub post: Option<Post>,
    /// `--no-check-certificate`.
    pub insecure: bool,
    /// Records whether the file of `-O` holds an earlier URL's answer: the next one is appended.
    pub has_written: Cell<bool>,
}

/// What a POST request sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Post {
    Data(String),
    /// The content of a file.
    File(String),
}

/// Why a call is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What is wrong with the words; the usage follows it. Empty if the URL is missing.
    Usage(String),
    /// What is wrong with the value of an option.
    Value(String),
}

/// What an option does.
enum Effect {
    Switch(fn(&mut Call)),
    /// Takes the next word, or what stands behind the letter or the `=`.
    Value(fn(&mut Call, String) -> Result<(), Refused>),
    /// An option of busybox that this wget does not have.
    LeftOut,
}

struct Known {
    letter: Option<char>,
    name: &'static str,
    effect: Effect,
}

const fn switch(letter: Option<char>, name: &'static str, effect: fn(&mut Call)) -> Known {
    Known { letter, name, effect: Effect::Switch(effect) }
}

const fn value(
    letter: Option<char>,
    name: &'static str,
    effect: fn(&mut Call, String) -> Result<(), Refused>,
) -> Known {
    Known { letter, name, effect: Effect::Value(effect) }
}

const fn left_out(letter: char, name: &'static str) -> Known {
    Known { letter: Some(letter), name, effect: Effect::LeftOut }
}

/// The options of busybox.
const TABLE: &[Known] = &[
    left_out('c', "continue"),
    switch(Some('q'), "quiet", |call| call.quiet = true),
    switch(Some('S'), "server-response", |call| call.show_headers = true),
    value(Some('O'), "output-document", |call, value| {
        call.output = Some(value);
        Ok(())
    }),
    left_out('o', "output-file"),
    value(Some('P'), "directory-prefix", |call, value| {
        call.directory = Some(value);
        Ok(())
    }),
    // These change nothing: wget uses no proxy here, and tries only once.
    value(Some('Y'), "proxy", |_, _| Ok(())),
    value(Some('t'), "tries", |_, _| Ok(())),
    value(Some('U'), "user-agent", |call, value| {
        call.agent = Some(value);
        Ok(())
    }),
    value(Some('T'), "timeout", |call, value| {
        call.timeout = Some(seconds(&value)?);
        Ok(())
    }),
    value(None, "header", |call, value| {
        call.headers.push(value);
        Ok(())
    }),
    value(None, "post-data", |call, value| {
        call.post = Some(Post::Data(value));
        Ok(())
    }),
    value(None, "post-file", |call, value| {
        call.post = Some(Post::File(value));
        Ok(())
    }),
    switch(None, "spider", |call| call.spider = true),
    switch(None, "no-check-certificate", |call| call.insecure = true),
];

/// Reads the words of a call. Options may stand behind URLs, and `--` ends them.
///
/// # Errors
/// What is wrong with an option, in the words of busybox, or a call without a URL.
pub(super) fn parse(args: &[String]) -> Result<Call, Refused> {
    let (mut call, mut words) = (Call::default(), args.iter());
    while let Some(word) = words.next() {
        if word == "--" {
            call.urls.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            take_long(&mut call, long, &mut words)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            take_letters(&mut call, letters, &mut words)?;
        } else {
            call.urls.push(word.clone());
        }
    }
    if call.urls.is_empty() { Err(usage("")) } else { Ok(call) }
}

/// Takes `--name`, `--name=value`, or the beginning of one name.
fn take_long(call: &mut Call, long: &str, words: &mut Iter<'_, String>) -> Result<(), Refused> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (long, None),
    };
    let known = by_name(name)?;
    match known.effect {
        Effect::LeftOut => Err(not_here(known)),
        Effect::Switch(_) if value.is_some() => {
            Err(usage(&format!("option '--{}' doesn't allow an argument", known.name)))
        }
        Effect::Switch(set) => {
            set(call);
            Ok(())
        }
        Effect::Value(set) => {
            let value = value.or_else(|| words.next().cloned());
            let missing = || usage(&format!("option '--{}' requires an argument", known.name));
            set(call, value.ok_or_else(missing)?)
        }
    }
}

/// Takes `-abc`: the letters of switches, of which the last one may take a value.
fn take_letters(call: &mut Call, letters: &str, words: &mut Iter<'_, String>) -> Result<(), Refused> {
    let mut rest = letters.chars();
    while let Some(letter) = rest.next() {
        // busybox takes `-nv`, `-nc` and the like of GNU wget and ignores them.
        if letter == 'n' {
            return Ok(());
        }
        let known = TABLE.iter().find(|known| known.letter == Some(letter));
        let known = known.ok_or_else(|| usage(&format!("invalid option -- '{letter}'")))?;
        match known.effect {
            Effect::LeftOut => return Err(not_here(known)),
            Effect::Switch(set) => set(call),
            Effect::Value(set) => {
                let behind = Some(rest.as_str()).filter(|behind| !behind.is_empty());
                let value = behind.map(str::to_string).or_else(|| words.next().cloned());
                let missing = || usage(&format!("option requires an argument -- '{letter}'"));
                return set(call, value.ok_or_else(missing)?);
            }
        }
    }
    Ok(())
}

/// Finds the option of a name, or of the beginning of just one name.
fn by_name(name: &str) -> Result<&'static Known, Refused> {
    if let Some(known) = TABLE.iter().find(|known| known.name == name) {
        return Ok(known);
    }
    let found: Vec<&'static Known> = TABLE.iter().filter(|known| known.name.starts_with(name)).collect();
    match found[..] {
        [] => Err(usage(&format!("unrecognized option '--{name}'"))),
        [known] => Ok(known),
        _ => {
            let names: String = found.iter().map(|known| format!(" '--{}'", known.name)).collect();
            Err(usage(&format!("option '--{name}' is ambiguous; possibilities:{names}")))
        }
    }
}

fn usage(what: &str) -> Refused {
    Refused::Usage(what.to_string())
}

fn not_here(known: &Known) -> Refused {
    usage(&format!("option '--{}' is not implemented by this wget", known.name))
}

fn seconds(text: &str) -> Result<Duration, Refused> {
    let seconds = text.parse().map_err(|_| Refused::Value(format!("invalid number '{text}'")))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, Refused> {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_those_of_busybox() {
        let got = call("-qO- -T 2 --header=A:b http://web").unwrap();
        assert!(got.quiet && got.output.as_deref() == Some("-"));
        assert_eq!((got.timeout, &got.headers[..]), (Some(Duration::from_secs(2)), &["A:b".to_string()][..]));
        let got = call("http://web -S --post-data x --post-file f").unwrap();
        assert!(got.show_headers && got.urls == ["http://web"]);
        assert_eq!(got.post, Some(Post::File("f".into())), "the last one counts");
    }

    #[test]
    fn options_that_change_nothing_are_taken() {
        assert_eq!(call("-nv -Y off -t 3 --proxy=on x"), call("x"));
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(call("-q -- -x").unwrap().urls, ["-x"]);
        assert_eq!(call("-- a -q b").unwrap().urls, ["a", "-q", "b"]);
    }

    #[test]
    fn long_names_may_be_cut() {
        assert!(call("--spi x").unwrap().spider);
        let both = "option '--s' is ambiguous; possibilities: '--server-response' '--spider'";
        assert_eq!(call("--s x"), Err(usage(both)));
    }

    #[test]
    fn wrong_words_are_reported_as_by_busybox() {
        for (line, what) in [
            ("-x http://web", "invalid option -- 'x'"),
            ("--nope x", "unrecognized option '--nope'"),
            ("--quiet=x y", "option '--quiet' doesn't allow an argument"),
            ("x --header", "option '--header' requires an argument"),
            ("-T", "option requires an argument -- 'T'"),
            ("-c x", "option '--continue' is not implemented by this wget"),
            ("-q", ""),
        ] {
            assert_eq!(call(line), Err(usage(what)), "{line}");
        }
        for number in ["x", "-1", "1.5"] {
            let what = format!("invalid number '{number}'");
            assert_eq!(call(&format!("-T {number} x")), Err(Refused::Value(what)));
        }
    }
}
