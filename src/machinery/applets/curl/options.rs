//! What a call of curl asks for.

use super::super::resolve::Family;
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
    /// `-D`: the file of the heads, or `-` for standard output.
    pub dump_header: Option<String>,
    pub method: Option<String>,
    pub headers: Vec<String>,
    pub data: Option<Vec<u8>>,
    /// `--json`: the data is JSON, and so shall the answer be.
    pub json: bool,
    /// `-T`, one for each URL: a pattern of files, `-` or `.` for standard input, or empty for no
    /// upload.
    pub uploads: Vec<String>,
    /// How long a body waits for `100 Continue`; [`EXPECT_WAIT`] if it is not set.
    pub expect_wait: Option<Duration>,
    /// `-G`: the data goes into the URL.
    pub get: bool,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub write_out: Option<String>,
    pub follow: bool,
    /// Redirections to follow at most; `None` for any number.
    pub redirects_max: Option<usize>,
    pub fail: bool,
    /// `--fail-with-body`.
    pub fail_with_body: bool,
    pub user: Option<String>,
    /// `--oauth2-bearer`: a token, which counts more than the user.
    pub bearer: Option<String>,
    /// `-A`; an empty one leaves the header out.
    pub agent: Option<String>,
    pub referer: Option<String>,
    /// `-e ';auto'`: a request that a redirection causes names the URL before it.
    pub referer_auto: bool,
    /// `-b`: `name=value`, several with `;` between them.
    pub cookies: Option<String>,
    /// `-r`: `0-499`, as `Range` has it behind `bytes=`.
    pub range: Option<String>,
    /// `--compressed`: the answer may be packed, and is unpacked.
    pub compressed: bool,
    pub retries: Retries,
    /// `-k`, `--cacert`, `--cert`, `--key`.
    pub terms: Terms,
    /// `-g`: braces and brackets in a URL and in the file of `-T` are plain text.
    pub globoff: bool,
    /// `-4` or `-6`: the only addresses to connect to.
    pub family: Option<Family>,
    /// `--resolve`, in their order: `HOST:PORT:ADDRESS[,ADDRESS]...`.
    pub pins: Vec<String>,
    pub help: bool,
    pub version: bool,
}

/// How long a body waits for `100 Continue`, as in curl.
pub(super) const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// The options that begin with `--retry`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Retries {
    /// Transfers after the first one, at most.
    pub count: u64,
    /// The wait before each; without it the waits double.
    pub delay: Option<Duration>,
    /// No retry begins later than this after the first transfer began.
    pub max_time: Option<Duration>,
    /// Whether a refused connection is tried again, too.
    pub if_refused: bool,
    pub all_errors: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    File(String),
    /// `-O`: the last part of the URL's path.
    Remote,
}

impl Options {
    /// Returns the pattern of files that the nth URL gets. As in curl an empty one is none.
    pub(super) fn upload_of(&self, nth: usize) -> Option<&str> {
        self.uploads.get(nth).map(String::as_str).filter(|pattern| !pattern.is_empty())
    }

    /// Adds data for the body; `joined` with `&` to what is there.
    pub(super) fn add_data(&mut self, more: &[u8], joined: bool) {
        match &mut self.data {
            Some(data) => {
                if joined {
                    data.push(b'&');
                }
                data.extend_from_slice(more);
            }
            None => self.data = Some(more.to_vec()),
        }
    }
}
