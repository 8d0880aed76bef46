//! The options of curl 7.88.1: those that are there, each with what it does, and the names of the
//! others.

use super::super::resolve::Family;
use super::options::{Options, Output};
use super::values::{Given, Lines, Refused};
use std::time::Duration;

/// What an option does. It is a part of the option's entry, so none can be forgotten.
pub(super) enum Effect {
    /// Turns something on, and with `--no-` in front of the name off.
    Switch(fn(&mut Options, bool)),
    /// Turns something on for good.
    Once(fn(&mut Options)),
    /// Takes the word that follows, or what stands behind the letter.
    Value(fn(&mut Options, &Given<'_>) -> Result<(), Refused>),
}

/// An option that is there.
pub(super) struct Known {
    pub letter: Option<char>,
    pub name: &'static str,
    pub effect: Effect,
}

const fn switch(letter: Option<char>, name: &'static str, effect: fn(&mut Options, bool)) -> Known {
    Known { letter, name, effect: Effect::Switch(effect) }
}

const fn once(letter: Option<char>, name: &'static str, effect: fn(&mut Options)) -> Known {
    Known { letter, name, effect: Effect::Once(effect) }
}

const fn value(
    letter: Option<char>,
    name: &'static str,
    effect: fn(&mut Options, &Given<'_>) -> Result<(), Refused>,
) -> Known {
    Known { letter, name, effect: Effect::Value(effect) }
}

/// The options that are there.
pub(super) const TABLE: &[Known] = &[
    switch(Some('s'), "silent", |o, on| o.silent = on),
    switch(Some('S'), "show-error", |o, on| o.show_error = on),
    switch(Some('v'), "verbose", |o, on| o.verbose = on),
    switch(Some('i'), "include", |o, on| o.include = on),
    switch(Some('I'), "head", |o, on| (o.head, o.include) = (on, on)),
    switch(Some('L'), "location", |o, on| o.follow = on),
    switch(Some('f'), "fail", |o, on| o.fail = on),
    switch(None, "fail-with-body", |o, on| o.fail_with_body = on),
    switch(Some('G'), "get", |o, on| o.get = on),
    switch(Some('g'), "globoff", |o, on| o.globoff = on),
    switch(Some('k'), "insecure", |o, on| o.terms.insecure = on),
    switch(Some('h'), "help", |o, on| o.help = on),
    switch(Some('V'), "version", |o, on| o.version = on),
    switch(None, "compressed", |o, on| o.compressed = on),
    switch(None, "retry-connrefused", |o, on| o.retries.if_refused = on),
    switch(None, "retry-all-errors", |o, on| o.retries.all_errors = on),
    switch(Some('O'), "remote-name", |o, on| o.outputs.extend(on.then_some(Output::Remote))),
    once(Some('4'), "ipv4", |o| o.family = Some(Family::V4)),
    once(Some('6'), "ipv6", |o| o.family = Some(Family::V6)),
    // Nothing to do: without a progress meter, a .curlrc, a buffer that waits, a proxy, another
    // way to log in, and with TLS 1.2 as the oldest one, this is so anyway.
    switch(Some('#'), "progress-bar", |_, _| ()),
    switch(None, "progress-meter", |_, _| ()),
    switch(Some('q'), "disable", |_, _| ()),
    switch(Some('N'), "buffer", |_, _| ()),
    switch(None, "tcp-nodelay", |_, _| ()),
    switch(None, "keepalive", |_, _| ()),
    value(None, "keepalive-time", |_, given| given.count().map(drop)),
    value(None, "noproxy", |_, _| Ok(())),
    switch(None, "basic", |_, _| ()),
    switch(None, "alpn", |_, _| ()),
    switch(None, "npn", |_, _| ()),
    switch(None, "sessionid", |_, _| ()),
    once(None, "http1.1", |_| ()),
    once(Some('1'), "tlsv1", |_| ()),
    once(None, "tlsv1.0", |_| ()),
    once(None, "tlsv1.1", |_| ()),
    once(None, "tlsv1.2", |_| ()),
    value(None, "url", |o, given| keep(&mut o.urls, given)),
    value(Some('o'), "output", |o, given| {
        if given.value.is_empty() {
            return Err(given.refused("is badly used here"));
        }
        o.outputs.push(Output::File(given.value.into()));
        Ok(())
    }),
    value(Some('D'), "dump-header", |o, given| set(&mut o.dump_header, given)),
    value(Some('w'), "write-out", |o, given| {
        o.write_out = given.format(o);
        Ok(())
    }),
    value(Some('X'), "request", |o, given| set(&mut o.method, given)),
    value(Some('H'), "header", header),
    value(Some('A'), "user-agent", |o, given| set(&mut o.agent, given)),
    value(Some('e'), "referer", referer),
    value(Some('b'), "cookie", cookie),
    value(Some('u'), "user", |o, given| set(&mut o.user, given)),
    value(None, "oauth2-bearer", |o, given| set(&mut o.bearer, given)),
    value(Some('r'), "range", |o, given| {
        o.range = Some(given.range(o));
        Ok(())
    }),
    value(Some('T'), "upload-file", |o, given| keep(&mut o.uploads, given)),
    value(None, "expect100-timeout", |o, given| seconds(&mut o.expect_wait, given)),
    value(Some('d'), "data", |o, given| data(o, given, Lines::Dropped)),
    value(None, "data-ascii", |o, given| data(o, given, Lines::Dropped)),
    value(None, "data-binary", |o, given| data(o, given, Lines::Kept)),
    value(None, "data-raw", |o, given| {
        o.add_data(given.value.as_bytes(), true);
        Ok(())
    }),
    value(None, "data-urlencode", |o, given| {
        o.add_data(&given.url_encoded(o), true);
        Ok(())
    }),
    value(None, "json", |o, given| {
        o.json = true;
        o.add_data(&given.data(o, Lines::Kept), false);
        Ok(())
    }),
    value(None, "resolve", |o, given| keep(&mut o.pins, given)),
    value(Some('m'), "max-time", |o, given| seconds(&mut o.max_time, given)),
    value(None, "connect-timeout", |o, given| seconds(&mut o.connect_timeout, given)),
    value(None, "max-redirs", redirects),
    value(None, "retry", |o, given| {
        o.retries.count = given.count()?;
        Ok(())
    }),
    value(None, "retry-delay", |o, given| whole_seconds(&mut o.retries.delay, given)),
    value(None, "retry-max-time", |o, given| whole_seconds(&mut o.retries.max_time, given)),
    value(None, "cacert", |o, given| set(&mut o.terms.authorities, given)),
    value(Some('E'), "cert", |o, given| set(&mut o.terms.certificate, given)),
    value(None, "key", |o, given| set(&mut o.terms.key, given)),
];

/// The other options, without the `no-` of those that are written with it.
const LEFT_OUT: &str = "\
    abstract-unix-socket alt-svc anyauth append aws-sigv4 capath cert-status cert-type ciphers \
    clobber compressed-ssh config connect-to continue-at cookie-jar create-dirs create-file-mode \
    crlf crlfile curves delegation digest disable-eprt disable-epsv disallow-username-in-url \
    dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-cert-status doh-insecure doh-url \
    egd-file engine etag-compare etag-save fail-early false-start form form-escape form-string \
    ftp-account ftp-alternative-to-user ftp-create-dirs ftp-method ftp-pasv ftp-port ftp-pret \
    ftp-skip-pasv-ip ftp-ssl-ccc ftp-ssl-ccc-mode ftp-ssl-control happy-eyeballs-timeout-ms \
    haproxy-protocol hostpubmd5 hostpubsha256 hsts http0.9 http1.0 http2 http2-prior-knowledge \
    http3 http3-only ignore-content-length interface junk-session-cookies key-type krb libcurl \
    limit-rate list-only local-port location-trusted login-options mail-auth mail-from mail-rcpt \
    mail-rcpt-allowfails manual max-filesize metalink negotiate netrc netrc-file netrc-optional \
    next ntlm ntlm-wb output-dir parallel parallel-immediate parallel-max pass path-as-is \
    pinnedpubkey post301 post302 post303 preproxy proto proto-default proto-redir proxy \
    proxy-anyauth proxy-basic proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers \
    proxy-crlfile proxy-digest proxy-header proxy-insecure proxy-key proxy-key-type \
    proxy-negotiate proxy-ntlm proxy-pass proxy-pinnedpubkey proxy-service-name \
    proxy-ssl-allow-beast proxy-ssl-auto-client-cert proxy-tls13-ciphers proxy-tlsauthtype \
    proxy-tlspassword proxy-tlsuser proxy-tlsv1 proxy-user proxy1.0 proxytunnel pubkey quote \
    random-file rate raw remote-header-name remote-name-all remote-time remove-on-error \
    request-target sasl-authzid sasl-ir service-name socks4 socks4a socks5 socks5-basic \
    socks5-gssapi socks5-gssapi-nec socks5-gssapi-service socks5-hostname speed-limit speed-time \
    ssl ssl-allow-beast ssl-auto-client-cert ssl-no-revoke ssl-reqd ssl-revoke-best-effort sslv2 \
    sslv3 stderr styled-output suppress-connect-headers tcp-fastopen telnet-option tftp-blksize \
    tftp-no-options time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser tlsv1.3 \
    tr-encoding trace trace-ascii trace-time unix-socket url-query use-ascii xattr";

/// The letters of the other options.
const LEFT_OUT_LETTERS: &str = "aKCcFP0jlMn:ZxUpQJRYy23tzB";

/// What curl says of an option that its library was built without.
pub(super) const NOT_HERE: &str = "the installed libcurl version doesn't support this";

/// Finds the option of a long name, or of the beginning of just one name, without regard to case.
///
/// # Errors
/// What curl says of a name that no option or more than one has, or of an option that is not here.
pub(super) fn by_name(name: &str) -> Result<&'static Known, &'static str> {
    let is_exact = |known: &str| known.eq_ignore_ascii_case(name);
    let begins = |known: &str| {
        known.as_bytes().get(..name.len()).is_some_and(|part| part.eq_ignore_ascii_case(name.as_bytes()))
    };
    let others = || LEFT_OUT.split_ascii_whitespace();
    if let Some(known) = TABLE.iter().find(|known| is_exact(known.name)) {
        return Ok(known);
    }
    if others().any(is_exact) {
        return Err(NOT_HERE);
    }
    let mut found = TABLE.iter().filter(|known| begins(known.name));
    match (found.next(), found.next().is_some(), others().filter(|known| begins(known)).count()) {
        (None, _, 0) => Err("is unknown"),
        (None, _, 1) => Err(NOT_HERE),
        (Some(known), false, 0) => Ok(known),
        _ => Err("is ambiguous"),
    }
}

/// Finds the option of a letter.
///
/// # Errors
/// As [`by_name`].
pub(super) fn by_letter(letter: char) -> Result<&'static Known, &'static str> {
    let found = TABLE.iter().find(|known| known.letter == Some(letter));
    found.ok_or(if LEFT_OUT_LETTERS.contains(letter) { NOT_HERE } else { "is unknown" })
}

fn set(option: &mut Option<String>, given: &Given<'_>) -> Result<(), Refused> {
    *option = given.text();
    Ok(())
}

fn keep(option: &mut Vec<String>, given: &Given<'_>) -> Result<(), Refused> {
    option.extend(given.text());
    Ok(())
}

fn seconds(option: &mut Option<Duration>, given: &Given<'_>) -> Result<(), Refused> {
    *option = given.seconds()?;
    Ok(())
}

fn whole_seconds(option: &mut Option<Duration>, given: &Given<'_>) -> Result<(), Refused> {
    let seconds = given.count()?;
    *option = (seconds > 0).then(|| Duration::from_secs(seconds));
    Ok(())
}

fn data(options: &mut Options, given: &Given<'_>, lines: Lines) -> Result<(), Refused> {
    let data = given.data(options, lines);
    options.add_data(&data, true);
    Ok(())
}

/// Reads one header, or for `@FILE` one a line.
fn header(options: &mut Options, given: &Given<'_>) -> Result<(), Refused> {
    match given.value.strip_prefix('@') {
        Some(file) => options.headers.extend(given.file_lines(options, file)),
        None => options.headers.push(given.value.into()),
    }
    Ok(())
}

/// `URL`, and `;auto` behind it or alone.
fn referer(options: &mut Options, given: &Given<'_>) -> Result<(), Refused> {
    let url = given.value.split(";auto").next().unwrap_or_default();
    options.referer_auto = url.len() < given.value.len();
    options.referer = Some(url.to_string()).filter(|url| !url.is_empty());
    Ok(())
}

/// `name=value`. A value without `=` is a file of cookies to curl, and there is no cookie engine.
fn cookie(options: &mut Options, given: &Given<'_>) -> Result<(), Refused> {
    if given.value.starts_with('@') || !given.value.contains('=') {
        return Err(given.refused(NOT_HERE));
    }
    options.cookies = Some(match options.cookies.take() {
        Some(cookies) => format!("{cookies};{}", given.value),
        None => given.value.to_string(),
    });
    Ok(())
}

/// Reads a number, or -1 for any number.
fn redirects(options: &mut Options, given: &Given<'_>) -> Result<(), Refused> {
    options.redirects_max = match given.number()? {
        -1 => None,
        number => {
            let number = usize::try_from(number);
            Some(number.map_err(|_| given.refused("expected a proper numerical parameter"))?)
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_every_letter_stands_for_one_option() {
        let names: Vec<&str> =
            TABLE.iter().map(|known| known.name).chain(LEFT_OUT.split_ascii_whitespace()).collect();
        let letters: Vec<char> =
            TABLE.iter().filter_map(|known| known.letter).chain(LEFT_OUT_LETTERS.chars()).collect();
        for (nth, name) in names.iter().enumerate() {
            assert!(!names[..nth].contains(name), "{name} stands twice");
        }
        for (nth, letter) in letters.iter().enumerate() {
            assert!(!letters[..nth].contains(letter), "-{letter} stands twice");
        }
    }
}
