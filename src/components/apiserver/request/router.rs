//! From a request to the function that answers it. Everything a path may name stands in the table
//! of kinds.

use crate::admission;
use crate::auth::user::User;
use crate::auth::{authn, reviews};
use crate::flowcontrol::compute::LARGE;
use crate::flowcontrol::free_memory::give_back_soon;
use crate::pipeline::Route;
use crate::proxy::{kubelet, pods};
use crate::registry::strategy::{self, Part};
use crate::registry::{
    binding, delete, eviction, metrics, read as reading, scale, token_request, watch, write,
};
use crate::request::context::Context;
use crate::request::http::{Answer, Body, json, json_bytes, not_found_page, plain, typed};
use crate::request::{accept, decode, etag, list_options, negotiate, readiness, websocket};
use crate::server::Server;
use crate::state::State;
use crate::undo::restore;
use api::kinds::{self, Catalog, Kind, KindRef};
use api::{Status, VERSION, discovery, gojson, openapi};
use futures::FutureExt;
use http::{HeaderValue, Method, Request};
use serde_json::json as object;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Finds the function that answers a request by the table of kinds.
pub(crate) struct Router;

impl Route for Router {
    async fn route(
        &self,
        server: &Server,
        ctx: &Arc<Context>,
        request: Request<Body>,
        stop: CancellationToken,
    ) -> Result<Answer, Status> {
        route(server, ctx, request, stop).await
    }
}

/// # Errors
/// 405 for a verb that the resource does not have, and those of the function.
async fn route(
    server: &Server,
    ctx: &Arc<Context>,
    request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let state = &server.state;
    if let Some(what) = ctx.info.path.strip_prefix("/ropewalk/v1/") {
        let (what, method) = (what.to_string(), request.method().clone());
        let body = state.bounds.read(&ctx.user, &ctx.info, &ctx.seat, request).await?;
        let (state, ctx) = (state.clone(), ctx.clone());
        let work = async move { restore::serve(&state, &ctx, &method, &what, &body).await };
        return to_the_end(server.crew(), work).await;
    }
    if !ctx.info.is_resource {
        return page(state, ctx, request.method()).await;
    }
    let Some(kind) = state.kind(&ctx.info).await else { return Ok(not_found_page()) };
    if kind.namespaced && ctx.info.namespace.is_empty() {
        let watches_one = ctx.info.watch_prefix && !ctx.info.name.is_empty() && kind.custom.is_none();
        match ctx.info.verb.as_str() {
            "list" | "watch" if kind.verbs.contains(&"list") && !watches_one => {}
            // The path without a namespace is served, but only for reading. Custom objects have no
            // such route: only the two verbs above lead to them.
            _ if ctx.info.name.is_empty() && kind.custom.is_none() && kind.verbs.contains(&"list") => {
                return Err(Status::method_not_allowed());
            }
            _ => return Ok(not_found_page()),
        }
    }
    // Rights in a namespace were asked for: they must not reach an object outside of it, be it
    // another namespace (CVE-2019-11247).
    if !kind.namespaced && ctx.info.in_namespace {
        return Ok(not_found_page());
    }
    // Nothing is below a subresource but what a proxy passes on, and `watch/` is a prefix of whole
    // resources.
    let is_below = !ctx.info.rest.is_empty() && ctx.info.subresource != "proxy";
    if is_below || ctx.info.watch_prefix && !ctx.info.subresource.is_empty() {
        return Ok(not_found_page());
    }
    if ctx.info.watch_prefix && !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    if *request.method() == Method::HEAD && !takes_head(ctx, &kind) {
        return Err(Status::method_not_allowed());
    }
    if !kind.deprecated.is_empty() {
        ctx.warn(kind.deprecated.as_ref());
    }
    if ctx.info.subresource.is_empty() {
        resource(server, ctx, &kind, request, stop).await
    } else {
        subresource(server, ctx, &kind, request).await
    }
}

/// True for a path that answers `HEAD`, or that is not served at all. Upstream's routes of its own
/// kinds name their methods, and none but those of a proxy names `HEAD`. Custom objects have no
/// routes: they are served by the verb, which a `HEAD` shares with `GET`.
fn takes_head(ctx: &Context, kind: &Kind) -> bool {
    let name = ctx.info.subresource.as_str();
    let is_served = name.is_empty() || kind.sub(name).is_some();
    kind.custom.is_some() || name == "proxy" || !is_served
}

fn allowed(verbs: &[&str], verb: &str) -> Result<(), Status> {
    if verbs.contains(&verb) { Ok(()) } else { Err(Status::method_not_allowed()) }
}

async fn resource(
    server: &Server,
    ctx: &Arc<Context>,
    kind: &KindRef,
    request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let state = &server.state;
    let verb = ctx.info.verb.clone();
    allowed(kind.verbs, &verb)?;
    if matches!(verb.as_str(), "list" | "watch" | "deletecollection") {
        list_options::check(&verb, &ctx.query)?;
    }
    decode::refuse_export(ctx)?;
    let one = !ctx.info.name.is_empty() || verb == "deletecollection";
    match verb.as_str() {
        "get" if kind.computed => return metrics::get(state, ctx, kind).await,
        "list" if kind.computed => return metrics::all(state, ctx, kind).await,
        "get" => return reading::get(state, ctx, kind).await,
        "list" => return reading::list(state, ctx, kind).await,
        "watch" => return events(server, ctx, kind, request, stop).await,
        "create" if !ctx.info.name.is_empty() => return Err(Status::method_not_allowed()),
        "update" | "patch" | "delete" if !one => return Err(Status::method_not_allowed()),
        "patch" => write::check_media(ctx, kind)?,
        _ => {}
    }
    if !verb.starts_with("delete") {
        decode::write_options(ctx)?;
    }
    let body = state.bounds.read(&ctx.user, &ctx.info, &ctx.seat, request).await?;
    let body = decode::well_formed(&ctx.headers, body);
    let bytes = to_work_on(state, ctx, kind, &body);
    // The answer repeats what was sent, or what is stored: once something is written, it is too
    // late to refuse.
    state.bounds.hold(&ctx.user, &ctx.info, &ctx.seat, bytes)?;
    // Not a custom kind of that name, which others may create.
    let binds = verb == "create" && kind.group.is_empty() && kind.kind == "Binding";
    if binds {
        admission::lifecycle(state, ctx, kind).await?;
    }
    let (state, ctx, kind) = (state.clone(), ctx.clone(), kind.clone());
    let user = ctx.user.clone();
    // Cancelled when this future goes, with its client or because it is done.
    let left = CancellationToken::new();
    let _here = left.clone().drop_guard();
    let work = async move {
        let (state, ctx, kind) = (&state, &*ctx, &kind);
        match verb.as_str() {
            "create" if binds => binding::bind(state, ctx, &body).await,
            "create" if !kind.is_stored() => reviews::review(state, ctx, kind, &body).await,
            "create" => write::create(state, ctx, kind, &body).await,
            "update" => write::update(state, ctx, kind, Part::Main, &body).await,
            "patch" => write::patch(state, ctx, kind, Part::Main, &body).await,
            "delete" => delete::delete(state, ctx, kind, &body).await,
            "deletecollection" => delete::delete_collection(state, ctx, kind, &body, &left).await,
            _ => Err(Status::method_not_allowed()),
        }
    };
    write_out(server, &user, bytes, work).await
}

/// Answers a watch with a stream of lines, or with messages if its request asks for a WebSocket.
async fn events(
    server: &Server,
    ctx: &Context,
    kind: &KindRef,
    mut request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let switch = websocket::asked(&mut request)?;
    let answer = watch::watch(&server.state, ctx, kind.clone(), stop).await?;
    Ok(match switch {
        Some(switch) => websocket::send_events(server, ctx, switch, answer),
        None => answer,
    })
}

/// Carries out a write that has `bytes` bytes to work on. Once it has begun it goes on to its end,
/// even if its client hangs up.
async fn write_out<T: Send + 'static>(
    server: &Server,
    user: &User,
    bytes: usize,
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    if bytes <= LARGE {
        return to_the_end(server.crew(), work).await;
    }
    let state = &server.state;
    // On a thread of its own, which goes on where the client hangs up.
    let done = state.compute.run(user, bytes, state.stop.clone(), work).await;
    // Objects that are only read have a bound already.
    give_back_soon(server.crew());
    done
}

/// Runs `work` as a task of the server. As a part of the connection it would end wherever it is
/// when the client hangs up, and between the store's commit and the record of it that would leave a
/// write that nobody has done, which undo and rewind could not name.
///
/// # Errors
/// Those of `work`; 503 when the server stops.
async fn to_the_end<T: Send + 'static>(
    crew: &Crew,
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let (tell, told) = oneshot::channel();
    crew.spawn(async move {
        // Nobody may be there any more to be told.
        let _ = tell.send(AssertUnwindSafe(work).catch_unwind().await);
    });
    match told.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(Status::unavailable("the server is stopping")),
    }
}

/// Bytes that a write has to work on: its body as the answer repeats it, where a `<` takes six
/// bytes, and the object that it changes or deletes.
fn to_work_on(state: &State, ctx: &Context, kind: &Kind, body: &[u8]) -> usize {
    let changed = match ctx.info.verb.as_str() {
        "update" | "patch" | "delete" => {
            state.remembered(strategy::stored_kind(kind), ctx.info.object_namespace(), &ctx.info.name)
        }
        _ => None,
    };
    body.len() + gojson::added_by_escapes(body) + changed.map_or(0, |object| object.bytes.len())
}

async fn subresource(
    server: &Server,
    ctx: &Arc<Context>,
    kind: &KindRef,
    request: Request<Body>,
) -> Result<Answer, Status> {
    let state = &server.state;
    let name = ctx.info.subresource.clone();
    let Some(sub) = kind.sub(&name) else { return Ok(not_found_page()) };
    let verb = ctx.info.verb.clone();
    if name != "proxy" {
        allowed(sub.verbs, &verb)?;
    }
    decode::refuse_dry_run(ctx)?;
    decode::refuse_export(ctx)?;
    match name.as_str() {
        "proxy" if kind.namespaced => return pods::serve(state, ctx, request).await,
        "proxy" => return kubelet::node(state, ctx, request).await,
        "log" | "exec" | "attach" | "portforward" => return kubelet::pod(state, ctx, request).await,
        "status" | "approval" | "ephemeralcontainers" if verb == "get" => {
            return reading::get(state, ctx, kind).await;
        }
        _ if verb == "patch" => write::check_media(ctx, kind)?,
        _ => {}
    }
    if verb != "get" {
        decode::write_options(ctx)?;
    }
    let body = state.bounds.read(&ctx.user, &ctx.info, &ctx.seat, request).await?;
    let body = decode::well_formed(&ctx.headers, body);
    let bytes = to_work_on(state, ctx, kind, &body);
    // The answer repeats what was sent, or what is stored: once something is written, it is too
    // late to refuse.
    state.bounds.hold(&ctx.user, &ctx.info, &ctx.seat, bytes)?;
    if matches!(name.as_str(), "binding" | "eviction" | "token") {
        admission::lifecycle(state, ctx, kind).await?;
    }
    let (state, ctx, kind) = (state.clone(), ctx.clone(), kind.clone());
    let user = ctx.user.clone();
    let work = async move {
        let (state, ctx, kind) = (&state, &*ctx, &kind);
        match (name.as_str(), verb.as_str(), kind.scale) {
            ("status" | "approval" | "ephemeralcontainers", ..) => {
                let part = if name == "ephemeralcontainers" { Part::Ephemeral } else { Part::Status };
                match verb.as_str() {
                    "update" => write::update(state, ctx, kind, part, &body).await,
                    _ => write::patch(state, ctx, kind, part, &body).await,
                }
            }
            ("finalize", ..) => write::update(state, ctx, kind, Part::Finalize, &body).await,
            ("scale", _, Some(paths)) => scale::scale(state, ctx, kind, paths, &body).await,
            ("binding", ..) => binding::bind(state, ctx, &body).await,
            ("eviction", ..) => eviction::evict(state, ctx, &body).await,
            ("token", ..) => token_request::create(state, ctx, &body).await,
            _ => Ok(not_found_page()),
        }
    };
    write_out(server, &user, bytes, work).await
}

/// Everything that is no resource.
async fn page(state: &Arc<State>, ctx: &Context, method: &Method) -> Result<Answer, Status> {
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
        [] => typed(200, "application/json", format!("{:#}", object!({"paths": paths(&kinds)}))),
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
        ["api", version] => found(ctx, discovery::api_resource_list(&kinds, "", version))?,
        ["apis", group] => found(ctx, discovery::api_group(&kinds, group))?,
        ["apis", group, version] => found(ctx, discovery::api_resource_list(&kinds, group, version))?,
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
fn issuer_metadata(state: &State) -> serde_json::Value {
    object!({"issuer": authn::ISSUER,
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
fn found(ctx: &Context, document: Option<serde_json::Value>) -> Result<Answer, Status> {
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

/// Discovery in the first form that the client names and this server has. `v2beta1` is none, as
/// upstream (gate `AggregatedDiscoveryRemoveBetaType`, on since 1.33 and locked since 1.35): a
/// client that knows no newer one gets the older lists.
fn group_document(
    ctx: &Context,
    kinds: &Catalog,
    core: bool,
    legacy: impl Fn() -> serde_json::Value,
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
    found(ctx, Some(legacy()))
}

/// The document of OpenAPI v2 in the first form that the client accepts: JSON, or the protobuf that
/// kubectl asks for. A client that accepts neither gets 406 (upstream:
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

/// The document of one group and version. With `hash` a client may keep it for a year; with the
/// hash of another document it is sent to the URL of this one, as upstream, or it would keep this
/// one under the name of the other.
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

fn version() -> serde_json::Value {
    object!({"major": "1", "minor": "35", "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1", "minCompatibilityMinor": "34",
        "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (rust)", "compiler": "rustc", "platform": format!("linux/{}", api::architecture())})
}
