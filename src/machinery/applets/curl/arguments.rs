//! Reads curl's command line.

use super::messages::warn;
use super::option_table::{self, Effect, Known};
use super::options::Options;
use super::values::{Given, Refused};
use std::io;
use std::slice::Iter;

/// What curl says of `--no-` in front of an option that cannot be off.
const NO_SWITCH: &str = "used '--no-' for option that isn't a boolean";

/// Reads the words of a call. `read` gives the content of a file, as for `-d @FILE`.
///
/// # Errors
/// What is wrong with an option, in curl's words, or two bodies for one request.
pub(super) fn parse(args: &[String], read: impl Fn(&str) -> io::Result<Vec<u8>>) -> Result<Options, Refused> {
    let options = Options { redirects_max: Some(50), ..Options::default() };
    let mut arguments = Arguments { words: args.iter(), options, read: &read };
    let mut only_urls = false;
    while let Some(word) = arguments.words.next() {
        if only_urls || !word.starts_with('-') {
            arguments.options.urls.push(word.clone());
        } else if word == "--" {
            only_urls = true;
        } else if let Some(long) = word.strip_prefix("--") {
            arguments.take_long(word, long)?;
        } else {
            arguments.take_letters(&word[1..])?;
        }
    }
    check_method(&arguments.options)?;
    Ok(arguments.options)
}

/// A command line that is read from left to right.
struct Arguments<'a> {
    /// The words that are not read yet.
    words: Iter<'a, String>,
    options: Options,
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

impl Arguments<'_> {
    /// Takes `--name`, `--no-name` or the beginning of one; `word` is all of it.
    fn take_long(&mut self, word: &str, name: &str) -> Result<(), Refused> {
        let (name, is_on) = match name.strip_prefix("no-") {
            Some(name) if !name.is_empty() => (name, false),
            Some(_) => return Err(refused(word, "is unknown")),
            None => (name, true),
        };
        let known = option_table::by_name(name).map_err(|what| refused(word, what))?;
        if !is_on && !known.name.eq_ignore_ascii_case(name) {
            return Err(refused(word, "is unknown")); // behind `--no-`, curl wants the whole name
        }
        if !is_on && !matches!(known.effect, Effect::Switch(_)) {
            return Err(refused(word, NO_SWITCH));
        }
        self.apply(known, word, is_on, None)
    }

    /// Takes `-abc`: the letters of switches, and at last one with a value, perhaps.
    fn take_letters(&mut self, letters: &str) -> Result<(), Refused> {
        if letters.is_empty() {
            return Err(refused("-", "is unknown"));
        }
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let shown = format!("-{letter}");
            let known = option_table::by_letter(letter).map_err(|what| refused(&shown, what))?;
            let takes_value = matches!(known.effect, Effect::Value(_));
            let behind = Some(rest.as_str()).filter(|behind| takes_value && !behind.is_empty());
            self.apply(known, &shown, true, behind)?;
            if takes_value {
                break;
            }
        }
        Ok(())
    }

    /// Applies an option, to the value `behind` its letter or else to the next word.
    fn apply(
        &mut self,
        known: &Known,
        shown: &str,
        is_on: bool,
        behind: Option<&str>,
    ) -> Result<(), Refused> {
        match known.effect {
            Effect::Switch(set) => set(&mut self.options, is_on),
            Effect::Once(set) => set(&mut self.options),
            Effect::Value(set) => {
                let value = behind.or_else(|| self.words.next().map(String::as_str));
                let value = value.ok_or_else(|| refused(shown, "requires parameter"))?;
                set(&mut self.options, &Given { value, shown, read: self.read })?;
            }
        }
        if self.options.fail && self.options.fail_with_body {
            let both = "You must select either --fail or --fail-with-body, not both.\ncurl: ";
            let both = if self.options.silent { "" } else { both };
            return Err(Refused::Usage(format!("{both}option {shown}: is badly used here")));
        }
        Ok(())
    }
}

fn refused(shown: &str, what: &str) -> Refused {
    Refused::Usage(format!("option {shown}: {what}"))
}

/// Checks that the options ask for one kind of request.
fn check_method(options: &Options) -> Result<(), Refused> {
    let methods = [
        (options.uploads.iter().any(|pattern| !pattern.is_empty()), "PUT (-T, --upload-file)"),
        (options.data.is_some() && !options.get, "POST (-d, --data)"),
        (options.head, "HEAD (-I, --head)"),
        (options.get && !options.head, "GET (-G, --get)"),
    ];
    let mut methods = methods.iter().filter(|(is_asked, _)| *is_asked).map(|(_, name)| name);
    if let (Some(one), Some(other)) = (methods.next(), methods.next()) {
        return Err(Refused::Call {
            warning: format!(
                "You can only select one HTTP request method! You asked for both {one} and {other}."
            ),
            is_silent: options.silent,
        });
    }
    let is_head = options.method.as_ref().is_some_and(|method| method.eq_ignore_ascii_case("head"));
    if is_head && !options.head && !options.silent {
        warn(
            "Setting custom HTTP method to HEAD with -X/--request may not work the way you want. \
             Consider using -I/--head instead.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::options::Output;
    use super::*;
    use std::time::Duration;

    fn options(line: &str) -> Result<Options, Refused> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        parse(&words, |file| match file {
            "missing" => Err(io::ErrorKind::NotFound.into()),
            file => Ok(format!("<{file}>\n").into_bytes()),
        })
    }

    /// Returns the message for a call that is refused.
    fn message(line: &str) -> String {
        match options(line) {
            Err(Refused::Usage(text) | Refused::Call { warning: text, .. }) => text,
            Ok(options) => panic!("{line} was taken: {options:?}"),
        }
    }

    fn data(line: &str) -> String {
        String::from_utf8(options(line).unwrap().data.unwrap()).unwrap()
    }

    #[test]
    fn letters_may_stand_together() {
        let got = options("-sSfLo /dev/null -m5 -w %{http_code} web").unwrap();
        assert!(got.silent && got.show_error && got.fail && got.follow);
        assert_eq!(got.outputs, [Output::File("/dev/null".into())]);
        assert_eq!(
            (got.max_time, got.write_out.as_deref()),
            (Some(Duration::from_secs(5)), Some("%{http_code}"))
        );
        assert_eq!(got.urls, ["web"]);
    }

    #[test]
    fn long_names_may_be_cut_and_turned_around() {
        assert_eq!(options("--max-t 5 x").unwrap().max_time, Some(Duration::from_secs(5)));
        assert_eq!(options("--MAX-TIME 5 x").unwrap().max_time, Some(Duration::from_secs(5)));
        assert!(!options("-f --no-fail x").unwrap().fail);
        assert!(!options("-k --no-insecure x").unwrap().terms.insecure);
        assert!(options("--no-progress-meter --no-buffer --noproxy * x").is_ok());
        assert!(options("--fail x").unwrap().fail, "a whole name is not the beginning of another one");
        for (line, what) in [
            ("--max 5 x", "option --max: is ambiguous"),
            ("--ret 1 x", "option --ret: is ambiguous"),
            ("--no-data a x", "option --no-data: used '--no-' for option that isn't a boolean"),
            ("--no-ipv4 x", "option --no-ipv4: used '--no-' for option that isn't a boolean"),
            ("--no- x", "option --no-: is unknown"),
            ("--no-insec x", "option --no-insec: is unknown"),
            ("--max-time=5 x", "option --max-time=5: is unknown"),
            ("--fail -s --fail-with-body x", "option --fail-with-body: is badly used here"),
        ] {
            assert!(message(line).ends_with(what), "{line}: {}", message(line));
        }
    }

    #[test]
    fn what_is_not_there_is_refused_by_its_name() {
        let not_here =
            |option: &str| format!("option {option}: the installed libcurl version doesn't support this");
        for option in
            ["-c", "-F", "-x", "-Z", "--form", "--cookie-jar", "--parallel", "--connect-to", "--next"]
        {
            assert_eq!(message(&format!("{option} a x")), not_here(option));
        }
        assert_eq!(message("-b file x"), not_here("-b"));
    }

    #[test]
    fn data_is_joined_and_read() {
        assert_eq!(data("-d a=1 --data b=2 x"), "a=1&b=2");
        assert_eq!(data("-d @f x"), "<f>");
        assert_eq!(data("--data-binary @f x"), "<f>\n");
        assert_eq!(data("--data-urlencode q=1&2 x"), "q=1%262");
        for (value, sent) in [
            ("@f", "%3Cf%3E%0A"),
            ("n@f", "n=%3Cf%3E%0A"),
            ("=a=b~", "a%3Db~"),
            ("a@b=c", "a@b=c"),
            ("q=*", "q=%2A"),
        ] {
            assert_eq!(data(&format!("--data-urlencode {value} x")), sent, "{value}");
        }
        let blank = ["--data-urlencode".to_string(), "q=a b".to_string()];
        let blank = parse(&blank, |_| Ok(Vec::new())).unwrap().data.unwrap();
        assert_eq!(blank, b"q=a+b");
        assert_eq!(options("-H @f -H A:1 x").unwrap().headers, ["<f>", "A:1"]);
        assert_eq!(options("--json a --json b x").unwrap().data.unwrap(), b"ab");
    }

    #[test]
    fn a_missing_file_has_nothing() {
        assert_eq!(data("-d @missing x"), "");
        assert_eq!(data("--data-urlencode a@missing x"), "");
        assert_eq!(data("--json @missing x"), "");
        assert_eq!(options("-H @missing -w @missing x").unwrap().headers, [""; 0]);
    }

    #[test]
    fn a_request_has_one_method_and_one_body() {
        assert_eq!(options("-T f x --upload-file - y").unwrap().uploads, ["f", "-"]);
        for (line, both) in [
            ("-T f -d a x", "PUT (-T, --upload-file) and POST (-d, --data)"),
            ("-I -d a x", "POST (-d, --data) and HEAD (-I, --head)"),
            ("-I -T f x", "PUT (-T, --upload-file) and HEAD (-I, --head)"),
            ("-G -T f -d a x", "PUT (-T, --upload-file) and GET (-G, --get)"),
        ] {
            let text = format!("You can only select one HTTP request method! You asked for both {both}.");
            assert_eq!(
                options(line).unwrap_err(),
                Refused::Call { warning: text, is_silent: false },
                "{line}"
            );
        }
        assert!(options("-I -G -d a x").is_ok());
        let words = ["-T", "", "-I", "-T", "f"].map(str::to_string);
        assert_eq!(parse(&words[..3], |_| Ok(Vec::new())).unwrap().upload_of(0), None);
        assert!(parse(&words, |_| Ok(Vec::new())).is_err());
    }

    #[test]
    fn values_are_read_as_curl_reads_them() {
        let got = options("-b a=1 -b b=2 -e http://r/;auto -r 5 --retry +2 --retry-delay 3 x").unwrap();
        assert_eq!(got.cookies.as_deref(), Some("a=1;b=2"));
        assert_eq!((got.referer.as_deref(), got.referer_auto), (Some("http://r/"), true));
        assert_eq!(got.range.as_deref(), Some("5-"));
        assert_eq!((got.retries.count, got.retries.delay), (2, Some(Duration::from_secs(3))));
        assert_eq!(options("-m 0.0001 x").unwrap().max_time, None, "curl counts milliseconds");
        assert_eq!(options("-m .5 x").unwrap().max_time, Some(Duration::from_millis(500)));
        assert_eq!(options("--max-redirs -1 x").unwrap().redirects_max, None);
        assert_eq!(options("x").unwrap().redirects_max, Some(50));
        for (line, what) in [
            ("-m soon x", "option -m: expected a proper numerical parameter"),
            ("-m -1 x", "option -m: expected a positive numerical parameter"),
            ("-m 99999999999999999999 x", "option -m: too large number"),
            ("--retry -1 x", "option --retry: expected a positive numerical parameter"),
            ("--retry 1.5 x", "option --retry: expected a proper numerical parameter"),
            ("--retry 99999999999999999999 x", "option --retry: too large number"),
            ("--max-redirs -2 x", "option --max-redirs: expected a proper numerical parameter"),
        ] {
            assert_eq!(message(line), what, "{line}");
        }
    }

    #[test]
    fn what_is_off_anyway_may_be_turned_off() {
        assert_eq!(options("-g -q -s http://[::1]/").unwrap().urls, ["http://[::1]/"]);
    }

    #[test]
    fn unknown_options_are_named() {
        assert_eq!(message("--nope x"), "option --nope: is unknown");
        assert_eq!(message("-o"), "option -o: requires parameter");
        assert_eq!(message("--url"), "option --url: requires parameter");
        assert_eq!(message("- x"), "option -: is unknown");
        assert_eq!(message("-sW x"), "option -W: is unknown");
    }
}
