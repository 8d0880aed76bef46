//! Passing a request on to another server and its answer back, changes of protocol included.

use super::http::{Answer, full};
use crate::api::Status;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

/// Copies the headers that go further: not those of one connection (unless it changes protocols), and not the `kept`.
pub fn pass_headers(from: &HeaderMap, to: &mut HeaderMap, upgrading: bool, kept: &[&str]) {
    const HOP: [HeaderName; 5] =
        [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::TE, header::TRAILER];
    for (name, value) in from {
        let hop = HOP.contains(name) && !(upgrading && matches!(*name, header::CONNECTION | header::UPGRADE));
        if !hop && !kept.contains(&name.as_str()) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// The answer 101: joins both connections until either side ends or `stop`. Errors: the client had not asked for that; `who` answered so.
pub fn join(
    client: Option<OnUpgrade>,
    mut answer: Response<Incoming>,
    who: &str,
    kept: &[&str],
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let server = hyper::upgrade::on(&mut answer);
    let Some(client) = client else {
        return Err(Status::new(502, "", format!("{who} changed protocols unasked")));
    };
    tokio::spawn(async move {
        let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            () = stop.cancelled() => {}
        }
    });
    let mut out = Response::new(full(""));
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    pass_headers(answer.headers(), out.headers_mut(), true, kept);
    Ok(out)
}
