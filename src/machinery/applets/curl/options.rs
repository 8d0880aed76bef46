//! curl's command line.

use super::super::tls::Terms;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub urls: Vec<String>,
    /// One for each URL, in order, as far as there are any.
    pub outputs: Vec<Output>,
    pub silent: bool,
    pub show_error: bool,
    pub verbose: bool,
    /// `-i`: the head is printed too.
    pub include: bool,
    /// `-I`.
    pub head: bool,
    pub method: Option<String>,
    pub headers: Vec<String>,
    pub data: Option<Vec<u8>>,
    /// `--json`: the data is JSON, and so shall the answer be.
    pub json: bool,
    /// `-T`, one for each URL: a pattern of files, or `-` or `.` for standard input.
    pub uploads: Vec<String>,
    /// `-G`: the data goes into the URL.
    pub get: bool,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub write_out: Option<String>,
    pub follow: bool,
    pub redirects_max: usize,
    pub fail: bool,
    /// `--fail-with-body`.
    pub fail_with_body: bool,
    pub user: Option<String>,
    pub agent: Option<String>,
    pub retries: u32,
    /// `-k`, `--cacert`, `--cert`, `--key`.
    pub terms: Terms,
    /// `-g`: braces and brackets in a URL and in the file of `-T` are plain text.
    pub globoff: bool,
    /// `-4` or `-6`: the only addresses to connect to.
    pub ip_version: Option<u8>,
    pub help: bool,
    pub version: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    File(String),
    /// `-O`: the last part of the URL's path.
    Remote,
}

/// Options that take a value: letter and name.
const WITH_VALUE: [(char, &str); 20] = [
    ('A', "user-agent"),
    ('d', "data"),
    ('\0', "data-ascii"),
    ('\0', "data-binary"),
    ('\0', "data-raw"),
    ('\0', "data-urlencode"),
    ('H', "header"),
    ('\0', "json"),
    ('m', "max-time"),
    ('\0', "connect-timeout"),
    ('\0', "max-redirs"),
    ('o', "output"),
    ('T', "upload-file"),
    ('u', "user"),
    ('w', "write-out"),
    ('X', "request"),
    ('\0', "retry"),
    ('\0', "cacert"),
    ('E', "cert"),
    ('\0', "key"),
];

const WITHOUT: [(char, &str); 21] = [
    ('s', "silent"),
    ('S', "show-error"),
    ('v', "verbose"),
    ('i', "include"),
    ('\0', "show-headers"),
    ('I', "head"),
    ('O', "remote-name"),
    ('L', "location"),
    ('f', "fail"),
    ('\0', "fail-with-body"),
    ('G', "get"),
    ('g', "globoff"),
    ('q', "disable"),
    ('k', "insecure"),
    ('N', "no-buffer"),
    ('4', "ipv4"),
    ('6', "ipv6"),
    ('h', "help"),
    ('V', "version"),
    ('\0', "http1.1"),
    ('#', "progress-bar"),
];

/// Errors as curl tells them, after `curl: `. `read` gives the content of a file for `-d @FILE`.
pub(super) fn parse(
    args: &[String],
    read: impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Options, String> {
    let mut options = Options { redirects_max: 50, ..Options::default() };
    let mut words = args.iter();
    let mut only_urls = false;
    while let Some(word) = words.next() {
        if only_urls || !word.starts_with('-') || word.len() == 1 {
            options.urls.push(word.clone());
        } else if word == "--" {
            only_urls = true;
        } else if let Some(long) = word.strip_prefix("--") {
            if WITHOUT.iter().any(|(_, name)| *name == long) {
                options.set(long);
            } else if WITH_VALUE.iter().any(|(_, name)| *name == long) {
                let value = words.next().ok_or_else(|| format!("option {word}: requires parameter"))?;
                options.set_value(long, value, word, &read)?;
            } else if long == "url" {
                options.urls.extend(words.next().cloned());
            } else {
                return Err(format!("option {word}: is unknown"));
            }
        } else {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                let same = |(known, _): &&(char, &str)| *known == letter;
                if let Some((_, name)) = WITHOUT.iter().find(same) {
                    options.set(name);
                } else if let Some((_, name)) = WITH_VALUE.iter().find(same) {
                    let rest: String = letters.by_ref().collect();
                    let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
                    let value = value.ok_or_else(|| format!("option -{letter}: requires parameter"))?;
                    options.set_value(name, &value, &format!("-{letter}"), &read)?;
                } else {
                    return Err(format!("option -{letter}: is unknown"));
                }
            }
        }
    }
    let asked = [
        (!options.uploads.is_empty(), "PUT (-T, --upload-file)"),
        (options.data.is_some() && !options.get, "POST (-d, --data)"),
        (options.head, "HEAD (-I, --head)"),
    ];
    let mut asked = asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, name)| name);
    match (asked.next(), asked.next()) {
        (Some(one), Some(other)) => {
            Err(format!("You can only select one HTTP request method! You asked for both {one} and {other}."))
        }
        _ => Ok(options),
    }
}

impl Options {
    fn set(&mut self, name: &str) {
        match name {
            "silent" => self.silent = true,
            "show-error" => self.show_error = true,
            "verbose" => self.verbose = true,
            "include" | "show-headers" => self.include = true,
            "head" => (self.head, self.include) = (true, true),
            "remote-name" => self.outputs.push(Output::Remote),
            "location" => self.follow = true,
            "fail" => self.fail = true,
            "fail-with-body" => self.fail_with_body = true,
            "get" => self.get = true,
            "insecure" => self.terms.insecure = true,
            "globoff" => self.globoff = true,
            "ipv4" => self.ip_version = Some(4),
            "ipv6" => self.ip_version = Some(6),
            "help" => self.help = true,
            "version" => self.version = true,
            _ => {} // nothing to do for HTTP/1.1 without a progress meter and a .curlrc (-q)
        }
    }

    fn set_value(
        &mut self,
        name: &str,
        value: &str,
        shown: &str,
        read: &impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        let bad = |what: &str| format!("option {shown}: {what}");
        let seconds = || {
            let seconds = value.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            seconds
                .map(|s| Some(s).filter(|s| !s.is_zero()))
                .ok_or_else(|| bad("expected a proper numerical parameter"))
        };
        let number = || value.parse().map_err(|_| bad("expected a proper numerical parameter"));
        match name {
            "user-agent" => self.agent = Some(value.into()),
            "header" => match value.strip_prefix('@') {
                // One header a line.
                Some(file) => {
                    let text = String::from_utf8_lossy(&read(file)?).into_owned();
                    self.headers.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_string));
                }
                None => self.headers.push(value.into()),
            },
            "max-time" => self.max_time = seconds()?,
            "connect-timeout" => self.connect_timeout = seconds()?,
            "max-redirs" => self.redirects_max = number()? as usize,
            "output" => self.outputs.push(Output::File(value.into())),
            "upload-file" => self.uploads.push(value.into()),
            "user" => self.user = Some(value.into()),
            "write-out" => {
                self.write_out = Some(match value.strip_prefix('@') {
                    Some(file) => String::from_utf8_lossy(&read(file)?).into_owned(),
                    None => value.into(),
                });
            }
            "request" => self.method = Some(value.into()),
            "retry" => self.retries = number()?,
            "cacert" => self.terms.authorities = Some(value.into()),
            "cert" => self.terms.certificate = Some(value.into()),
            "key" => self.terms.key = Some(value.into()),
            "json" => {
                self.json = true;
                self.add_data(from_file(value, read)?, false);
            }
            "data-raw" => self.add_data(value.into(), true),
            "data-binary" => self.add_data(from_file(value, read)?, true),
            "data-urlencode" => self.add_data(url_encoded(value, read)?, true),
            _ => {
                let mut data = from_file(value, read)?;
                if value.starts_with('@') {
                    data.retain(|byte| !matches!(byte, b'\r' | b'\n'));
                }
                self.add_data(data, true);
            }
        }
        Ok(())
    }

    fn add_data(&mut self, more: Vec<u8>, joined: bool) {
        match &mut self.data {
            Some(data) => {
                if joined {
                    data.push(b'&');
                }
                data.extend(more);
            }
            None => self.data = Some(more),
        }
    }
}

fn from_file(value: &str, read: &impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    match value.strip_prefix('@') {
        Some(file) => read(file),
        None => Ok(value.into()),
    }
}

/// `content`, `=content`, `name=content`, `@FILE` or `name@FILE`, with the content encoded.
fn url_encoded(value: &str, read: &impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    // RFC 3986, 2.3: these stay as they are.
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let (name, content) = match (value.split_once('='), value.split_once('@')) {
        (Some((name, content)), _) => (name, content.into()),
        (None, Some((name, file))) => (name, read(file)?),
        (None, None) => ("", value.into()),
    };
    let content = percent_encoding::percent_encode(&content, RESERVED);
    let text = if name.is_empty() { content.to_string() } else { format!("{name}={content}") };
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        parse(&words, |file| Ok(format!("<{file}>\n").into_bytes()))
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
    fn data_is_joined_and_read() {
        assert_eq!(options("-d a=1 --data b=2 x").unwrap().data.unwrap(), b"a=1&b=2");
        assert_eq!(options("-d @f x").unwrap().data.unwrap(), b"<f>");
        assert_eq!(options("--data-binary @f x").unwrap().data.unwrap(), b"<f>\n");
        assert_eq!(options("--data-urlencode q=1&2 x").unwrap().data.unwrap(), b"q=1%262");
        for (value, sent) in
            [("@f", "%3Cf%3E%0A"), ("n@f", "n=%3Cf%3E%0A"), ("=a=b~", "a%3Db~"), ("a@b=c", "a@b=c")]
        {
            let data = options(&format!("--data-urlencode {value} x")).unwrap().data.unwrap();
            assert_eq!(String::from_utf8(data).unwrap(), sent, "{value}");
        }
        assert_eq!(url_encoded("a b", &|_| Ok(vec![])).unwrap(), b"a%20b");
        assert_eq!(options("-H @f -H A:1 x").unwrap().headers, ["<f>", "A:1"]);
    }

    #[test]
    fn a_request_has_one_method_and_one_body() {
        assert_eq!(options("-T f x --upload-file - y").unwrap().uploads, ["f", "-"]);
        for (line, both) in [
            ("-T f -d a x", "PUT (-T, --upload-file) and POST (-d, --data)"),
            ("-I -d a x", "POST (-d, --data) and HEAD (-I, --head)"),
            ("-I -T f x", "PUT (-T, --upload-file) and HEAD (-I, --head)"),
        ] {
            let told = format!("You can only select one HTTP request method! You asked for both {both}.");
            assert_eq!(options(line).unwrap_err(), told, "{line}");
        }
        assert!(options("-I -G -d a x").is_ok());
    }

    #[test]
    fn what_is_off_anyway_may_be_turned_off() {
        assert_eq!(options("-g -q -s http://[::1]/").unwrap().urls, ["http://[::1]/"]);
    }

    #[test]
    fn unknown_options_are_named() {
        assert_eq!(options("--nope x").unwrap_err(), "option --nope: is unknown");
        assert_eq!(options("-o").unwrap_err(), "option -o: requires parameter");
        assert_eq!(options("-m soon x").unwrap_err(), "option -m: expected a proper numerical parameter");
    }
}
