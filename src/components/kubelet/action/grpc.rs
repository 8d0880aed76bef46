//! The health check of a gRPC server: the call `Check` of `grpc.health.v1.Health`. Source:
//! `pkg/probe/grpc/grpc.go`.

use super::{Answer, OUTPUT_MAX, Target};
use crate::specs::go_duration;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::SocketAddr;
use std::time::Duration;

/// A server that cannot be asked is asked again after this time, as long as the probe may take: the
/// first pause of grpc-go.
const AGAIN: Duration = Duration::from_secs(1);

/// Names of the codes of gRPC from 0 on, as Go prints them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A server's answer to the call.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// `grpc-status`.
    pub code: usize,
    /// `grpc-message`.
    pub message: String,
    /// The frame with the HealthCheckResponse.
    pub frame: Bytes,
}

impl Target<'_> {
    /// Asks the server for its health, or for that of one of its services.
    ///
    /// # Errors
    /// The port is none, or the pod has no address.
    pub(super) async fn grpc(&self, grpc: &GRPCAction, timeout: Duration) -> Result<Answer, String> {
        let to = self.address(None, &IntOrString::Int(grpc.port))?;
        let asked = async {
            loop {
                match self.check(to, grpc.service.as_deref().unwrap_or_default()).await {
                    Ok(checked) => return checked,
                    Err(why) => tracing::debug!(%to, why, "a gRPC server cannot be asked yet"),
                }
                clock::pause(AGAIN).await;
            }
        };
        let Some(checked) = clock::limit(timeout, asked).await else {
            let (server, limit) = (to.to_string(), go_duration(timeout));
            let why =
                format!("failed to connect service {server:?} within {limit}: context deadline exceeded");
            return Ok(Answer::Ill(format!("timeout: {why}")));
        };
        Ok(answer(&checked, timeout))
    }

    /// Asks once, over a connection of its own.
    async fn check(&self, to: SocketAddr, service: &str) -> Result<Checked, String> {
        let stream = self.network.dial(to).await.map_err(|e| e.to_string())?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
        // The one field of HealthCheckRequest: `service`, number 1, a string.
        let mut message = vec![];
        if !service.is_empty() {
            message = vec![0x0a];
            prost::encoding::encode_varint(service.len() as u64, &mut message);
            message.extend_from_slice(service.as_bytes());
        }
        let mut frame = vec![0]; // not compressed
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend(message);
        let request = http::Request::post(format!("http://{to}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", self.agent)
            .body(Full::new(Bytes::from(frame)))
            .map_err(|e| e.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let head = response.headers().clone();
            let body = Limited::new(response.into_body(), OUTPUT_MAX).collect().await;
            let body = body.map_err(|e| e.to_string())?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok::<_, String>((head, trailers, body.to_bytes()))
        };
        tokio::pin!(connection);
        let (head, trailers, frame) = tokio::select! {
            biased; // an answer counts, also if the connection ends with it
            done = exchange => done?,
            end = &mut connection => return Err(end.err().map_or("connection closed".into(), |e| e.to_string())),
        };
        let field = |name: &str| trailers.get(name).or(head.get(name)).and_then(|value| value.to_str().ok());
        let code = field("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(2);
        Ok(Checked { code, message: decoded(field("grpc-message").unwrap_or_default()), frame })
    }
}

/// Returns what the server's answer says of the container, in the words of upstream.
pub(super) fn answer(checked: &Checked, timeout: Duration) -> Answer {
    let Checked { code, message, frame } = checked;
    Answer::Ill(match code {
        0 => match health(frame) {
            1 => return Answer::Well,
            0 => "service unhealthy (responded with \"UNKNOWN\")".into(),
            2 => "service unhealthy (responded with \"NOT_SERVING\")".into(),
            3 => "service unhealthy (responded with \"SERVICE_UNKNOWN\")".into(),
            other => format!("service unhealthy (responded with \"{other}\")"),
        },
        4 => format!("timeout: health rpc did not complete within {}", go_duration(timeout)),
        12 => format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        ),
        code => {
            let name = CODES.get(*code).map_or(format!("Code({code})"), |name| (*name).to_string());
            format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}")
        }
    })
}

/// Reads `status`, field 1 of HealthCheckResponse, out of one gRPC frame.
pub(super) fn health(frame: &[u8]) -> u64 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => u64::from(*status),
        _ => 0,
    }
}

/// Decodes the percent-encoding of `grpc-message`; what is no code stays.
///
/// ```text
/// unknown%20service  ->  unknown service        50%  ->  50%
/// ```
pub(super) fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
