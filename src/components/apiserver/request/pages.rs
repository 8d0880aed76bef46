//! Pages: the paths that name no resource. Discovery, OpenAPI, health, the version, metrics, and
//! the keys of the cluster's tokens.

use crate::auth::authn;
use crate::request::context::Context;
use crate::request::http::{Answer, json, json_bytes, not_found_page, plain, typed};
use crate::request::{accept, etag, negotiate, readiness};
use crate::state::State;
use api::kinds::{self, Catalog};
use api::{Status, VERSION, discovery, openapi};
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Answers a request for a page.
///
/// # Errors
/// 405 for a method that a page does not have, 406 for a form that a document does not have.
pub(super) async fn answer(state: &Arc<State>, ctx: &Context, method: &Method) -> Result<Answer, Status> {
    let path = ctx.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    if let ["apis" | "openapi", ..] = parts.as_slice() {
        // A definition that a client has seen established is found here, too. Without a leader the
        // answer is what this server knows.
        let _ = clock::limit(readiness::READY_TIMEOUT, state.fresh()).await;
    }
    let kinds = state.cache.kinds();
    let answer = match parts.as_slice() {
        // Indented for every client, as the page of the version (upstream: `WriteRawJSON`).
        [] => typed(200, "application/json", format!("{:#}", json!({"paths": paths(&kinds)}))),
        // Not with a slash at its end, as upstream.
        [page @ ("livez" | "readyz" | "healthz")] if path == ctx.info.path => {
            readiness::health(state, page, &ctx.query).await
        }
        [page @ ("livez" | "readyz" | "healthz"), check @ ..] => {
            readiness::health_check(state, page, &check.join("/")).await
        }
        ["version"] => typed(200, "application/json", format!("{:#}", version())),
        ["api"] => {
            group_document(ctx, &kinds, true, || discovery::api_versions(&state.advertise.to_string()))?
        }
        ["apis"] => group_document(ctx, &kinds, false, || discovery::api_group_list(&kinds))?,
        ["api", version] => discovery_document(ctx, discovery::api_resource_list(&kinds, "", version))?,
        ["apis", group] => discovery_document(ctx, discovery::api_group(&kinds, group))?,
        ["apis", group, version] => {
            discovery_document(ctx, discovery::api_resource_list(&kinds, group, version))?
        }
        ["openapi", "v2"] => openapi_v2(ctx),
        ["openapi", "v3"] => {
            let index = || openapi::index(&kinds, VERSION.trim_start_matches('v')).to_string().into();
            etag::document(ctx, "application/json", kinds.documents.get("openapi/v3", index))
        }
        ["openapi", "v3", rest @ ..] => openapi_document(ctx, &kinds, &rest.join("/")),
        ["openid", "v1", "jwks"] => {
            for_an_hour(typed(200, "application/jwk-set+json", state.tokens.jwks().to_string()))
        }
        [".well-known", "openid-configuration"] => {
            for_an_hour(json_bytes(200, issuer_metadata(state).to_string()))
        }
        ["metrics"] => plain(200, state.metrics()),
        _ => not_found_page(),
    };
    if *method != Method::GET && answer.status() == 200 && is_route(&parts) {
        return Err(Status::method_not_allowed());
    }
    Ok(answer)
}

/// True for a page that upstream serves by a route of its methods, as its own kinds, and not by a
/// handler for all methods, as the pages of health and of custom groups. The first two levels of
/// `/apis` belong to its aggregator, which is such a handler.
fn is_route(parts: &[&str]) -> bool {
    match parts {
        ["version" | "api" | "openid" | ".well-known", ..] => true,
        ["apis", group, version] => kinds::all().iter().any(|k| (k.group, k.version) == (*group, *version)),
        _ => false,
    }
}

/// Describes the issuer of the cluster's tokens (OpenID Connect Discovery).
fn issuer_metadata(state: &State) -> Value {
    json!({"issuer": authn::ISSUER,
        "jwks_uri": format!("https://{}/openid/v1/jwks", state.advertise), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]})
}

/// Lets clients and caches keep the metadata of the tokens' issuer for an hour (upstream:
/// `pkg/routes/openidmetadata.go`).
fn for_an_hour(mut answer: Answer) -> Answer {
    answer.headers_mut().insert("cache-control", HeaderValue::from_static("public, max-age=3600"));
    answer
}

/// Answers a document of discovery.
fn discovery_document(ctx: &Context, document: Option<Value>) -> Result<Answer, Status> {
    let Some(document) = document else { return Ok(not_found_page()) };
    negotiate::check_plain(ctx.accept())?;
    Ok(json(200, &document))
}

/// Lists what is served beside resources, as the page `/` shows it.
fn paths(kinds: &Catalog) -> Vec<String> {
    let mut all: Vec<String> = vec![
        "/.well-known/openid-configuration".into(),
        "/api".into(),
        "/apis".into(),
        "/metrics".into(),
        "/openapi/v2".into(),
        "/openapi/v3".into(),
        "/openid/v1/jwks".into(),
        "/version".into(),
    ];
    for page in ["healthz", "livez", "readyz"] {
        all.push(format!("/{page}"));
        all.extend(readiness::checks_of(page).iter().map(|check| format!("/{page}/{check}")));
    }
    for (group, version, _) in kinds.group_versions() {
        match group {
            "" => all.push(format!("/api/{version}")),
            group => {
                all.push(format!("/apis/{group}"));
                all.push(format!("/apis/{group}/{version}"));
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Answers discovery in the first form that the client names and this server has. `v2beta1` is
/// none, as upstream (gate `AggregatedDiscoveryRemoveBetaType`, on since 1.33 and locked since
/// 1.35): a client that knows no newer one gets the older lists.
fn group_document(
    ctx: &Context,
    kinds: &Catalog,
    core: bool,
    legacy: impl Fn() -> Value,
) -> Result<Answer, Status> {
    for range in accept::ranges(ctx.accept()).iter().filter(|range| range.takes("application/json")) {
        let [form, group, version] = ["as", "g", "v"].map(|key| range.parameter(key));
        if form.is_empty() {
            break;
        }
        if (form, group, version) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") {
            let kind = format!("application/json;g={group};v={version};as={form}");
            let name = format!("{}?v={version}", if core { "api" } else { "apis" });
            let make = || format!("{}\n", discovery::aggregated(kinds, core, version)).into();
            let mut answer = etag::document(ctx, &kind, kinds.documents.get(&name, make));
            answer.headers_mut().insert("cache-control", HeaderValue::from_static("public"));
            return Ok(answer);
        }
    }
    discovery_document(ctx, Some(legacy()))
}

/// Answers the document of OpenAPI v2 in the first form that the client accepts: JSON, or the
/// protobuf that kubectl asks for. A client that accepts neither gets 406 (upstream:
/// `RegisterOpenAPIVersionedService`).
///
/// Example: `kubectl get --raw /openapi/v2` accepts JSON first, and prints it.
fn openapi_v2(ctx: &Context) -> Answer {
    let accept = if ctx.accept().is_empty() { "*/*" } else { ctx.accept() };
    for range in accept::ranges(accept) {
        if range.takes("application/json") {
            return etag::document(ctx, "application/json", openapi::V2_JSON);
        }
        if range.takes(openapi::V2_TYPE) || range.takes(openapi::V2_TYPE_OLD) {
            return etag::document(ctx, openapi::V2_TYPE, openapi::V2_STUB);
        }
    }
    plain(406, "")
}

/// Answers the document of one group and version. With `hash` a client may keep it for a year; with
/// the hash of another document it is sent to the URL of this one, as upstream, or it would keep
/// this one under the name of the other.
fn openapi_document(ctx: &Context, kinds: &Catalog, path: &str) -> Answer {
    let Some(document) = openapi::document(kinds, path, VERSION) else { return not_found_page() };
    let index = openapi::index(kinds, VERSION.trim_start_matches('v'));
    let url = index["paths"][path]["serverRelativeURL"].as_str().unwrap_or_default();
    let current = url.rsplit_once("?hash=").map_or("", |(_, hash)| hash);
    let hash = ctx.query.get("hash");
    if !hash.is_empty() && hash != current {
        let mut moved = plain(301, "");
        if let Ok(url) = HeaderValue::from_str(url) {
            moved.headers_mut().insert("location", url);
        }
        return moved;
    }
    let mut answer = json_bytes(200, document);
    if !hash.is_empty() {
        answer.headers_mut().insert("cache-control", HeaderValue::from_static("public, immutable"));
        let expires = std::time::SystemTime::from(clock::now()) + Duration::from_secs(365 * 86400);
        if let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(expires)) {
            answer.headers_mut().insert("expires", value);
        }
    }
    etag::tagged(ctx, current, answer)
}

fn version() -> Value {
    json!({"major": "1", "minor": "35", "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1", "minCompatibilityMinor": "34",
        "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (rust)", "compiler": "rustc", "platform": format!("linux/{}", api::architecture())})
}
