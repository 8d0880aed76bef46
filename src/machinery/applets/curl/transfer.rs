//! One transfer: a request, and those that redirections ask for.

use super::super::http::{Answer, Deadline, Error, Url};
use super::body::{Body, upload_path};
use super::client::Client;
use super::faults::{Fault, fault, redirect_fault, transfer_fault, url_fault};
use super::options::Options;
use super::output::Sink;
use super::pattern::Expanded;
use super::report::Report;
use super::request::Request;
use super::trace;

/// One transfer of a call.
pub(super) struct Transfer<'a> {
    pub url: &'a Expanded,
    /// The file of `-T`.
    pub upload: Option<&'a str>,
    /// The place of the URL in the call.
    pub nth: usize,
}

/// Transfers one URL, with its redirections.
pub(super) fn transfer(
    client: &mut Client<'_>,
    wanted: &Transfer<'_>,
    report: &mut Report,
) -> Result<(), Fault> {
    let transferred = follow_redirects(client, wanted, report);
    if let Err(fault) = &transferred {
        client.give_up(fault);
    }
    transferred
}

/// Returns the method of the first request.
fn method_of(options: &Options, body: Option<Body<'_>>) -> String {
    match (&options.method, options.head, body) {
        (Some(method), _, _) => method,
        (None, true, _) => "HEAD",
        (None, false, Some(Body::Data(_))) => "POST",
        (None, false, Some(Body::File(_))) => "PUT",
        (None, false, None) => "GET",
    }
    .into()
}

/// Returns the URL that is asked first, and what is sent to it.
pub(super) fn first_request<'a>(
    options: &'a Options,
    wanted: &Transfer<'a>,
) -> Result<(Url, Option<Body<'a>>), Fault> {
    let mut url = Url::parse(&wanted.url.url).map_err(url_fault)?;
    let body = match (&options.data, wanted.upload) {
        (_, Some(name)) => {
            url.path = upload_path(&url.path, name);
            Some(Body::File(name))
        }
        (Some(query), None) if options.get => {
            url = url.with_query(&String::from_utf8_lossy(query)).map_err(url_fault)?;
            None
        }
        (Some(data), None) => Some(Body::Data(data)),
        (None, None) => None,
    };
    Ok((url, body))
}

fn follow_redirects(
    client: &mut Client<'_>,
    wanted: &Transfer<'_>,
    report: &mut Report,
) -> Result<(), Fault> {
    let (options, deadline) = (client.options, Deadline::new(client.options.max_time));
    client.check_pins()?;
    let (mut url, mut body) = first_request(options, wanted)?;
    let first = url.clone();
    let is_dumped = std::mem::replace(&mut client.has_dumped, true);
    let output = options.outputs.get(wanted.nth);
    let mut sink = Sink::new(options, output, wanted.url, first.file_name(), is_dumped)?;
    report.file = sink.file().map(str::to_string);
    report.referer.clone_from(&options.referer);
    if options.get && options.data.is_some() {
        report.url = url.effective(); // curl puts the data into the URL before it begins
    }
    let mut method = method_of(options, body);
    loop {
        report.effective = url.effective();
        report.method.clone_from(&method);
        let (trusted, referer) = (url.is_same_server(&first), report.referer.clone());
        let (is_named, referer) = (url.is_same_host(&first), referer.as_deref());
        let request = Request { url: &url, method: &method, body, trusted, is_named, referer };
        let answer = client.request(request, deadline, report);
        // What came before a failure is shown, too.
        sink.write_heads(&report.heads)?;
        let mut answer = answer?;
        let status = answer.head.status;
        let location = answer.head.location.clone().filter(|_| (300..400).contains(&status));
        report.redirect = location.as_ref().and_then(|l| url.join(l).ok()).map(|u| u.effective());
        let Some(location) = location.filter(|_| options.follow) else {
            check_status(options.fail, status)?;
            sink.body(&mut answer, deadline, report)?;
            trace::note_excess(options, &answer, &url.path);
            client.keep_connection(url, answer, &method);
            return check_status(options.fail_with_body, status);
        };
        if let Some(most) = options.redirects_max.filter(|most| report.redirects >= *most) {
            return Err(fault(47, format!("Maximum ({most}) redirects followed")));
        }
        skip_body(client, &mut answer, deadline, report)?;
        client.keep_connection(url.clone(), answer, &method);
        let mut next = url.join(&location).map_err(redirect_fault).inspect_err(|fault| {
            client.note(&format!("* {}\n", fault.text));
        })?;
        if next.user.is_none() && next.is_same_server(&url) {
            next.user.clone_from(&url.user);
        }
        if options.referer_auto {
            report.referer = Some(url.full());
        }
        url = next;
        client.note(&format!("* Issue another request to this URL: '{}'\n", url.effective()));
        report.redirects += 1;
        report.redirected = report.start.elapsed();
        report.redirect = None;
        if drops_body(status, body) {
            // `-X` only replaces the word: the body goes as without it.
            body = None;
            if options.method.is_none() && method != "HEAD" {
                method = "GET".into();
            }
        }
        if body.is_some_and(|body| body.is_stdin()) {
            return Err(cannot_rewind());
        }
    }
}

/// Reads the body of a redirection away, if the connection goes on behind it.
fn skip_body(
    client: &Client<'_>,
    answer: &mut Answer,
    deadline: Deadline,
    report: &Report,
) -> Result<(), Fault> {
    let failed = |e: &Error, answer: &Answer| transfer_fault(e, deadline, answer.received, answer.length);
    if client.options.verbose
        && answer.is_kept()
        && let Some(count) = answer.await_body().map_err(|e| failed(&e, answer))?
    {
        client.note("* Ignoring the response-body\n");
        trace::announce_data(client.options, report, count);
    }
    answer.skip_body().map_err(|e| failed(&e, answer))
}

/// Returns whether a redirection asks for its target without the body.
fn drops_body(status: u16, body: Option<Body<'_>>) -> bool {
    let posts = matches!(body, Some(Body::Data(_)));
    status == 303 || (matches!(status, 301 | 302) && posts)
}

/// Returns the failure of an upload that cannot be read a second time.
pub(super) fn cannot_rewind() -> Fault {
    fault(65, "necessary data rewind wasn't possible")
}

/// Refuses a status of an error if it is a failure here (`-f`, `--fail-with-body`).
fn check_status(is_failure: bool, status: u16) -> Result<(), Fault> {
    match is_failure && status >= 400 {
        true => Err(fault(22, format!("The requested URL returned error: {status}"))),
        false => Ok(()),
    }
}
