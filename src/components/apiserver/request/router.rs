//! From a request to the function that answers it. Every resource that a path may name stands in
//! the table of kinds; the other paths are `pages`.

use crate::admission;
use crate::auth::reviews;
use crate::auth::user::User;
use crate::flowcontrol::compute::LARGE;
use crate::flowcontrol::free_memory::give_back_soon;
use crate::pipeline::Route;
use crate::proxy::{kubelet, pods};
use crate::registry::strategy::{self, Part};
use crate::registry::{
    binding, delete, eviction, metrics, read as reading, scale, token_request, watch, write,
};
use crate::request::context::Context;
use crate::request::http::{Answer, Body, not_found_page};
use crate::request::{decode, list_options, pages, websocket};
use crate::server::Server;
use crate::state::State;
use crate::undo::restore;
use api::kinds::{Kind, KindRef, ScalePaths};
use api::{Status, gojson};
use futures::FutureExt;
use http::{Method, Request};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
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

/// Finds the function that answers a request, and returns its answer.
///
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
        return run_to_end(server.crew(), work).await;
    }
    if !ctx.info.is_resource {
        return pages::answer(state, ctx, request.method()).await;
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

/// Checks that a resource has this verb.
///
/// # Errors
/// 405 if it does not.
fn check_verb(verbs: &[&str], verb: &str) -> Result<(), Status> {
    if verbs.contains(&verb) { Ok(()) } else { Err(Status::method_not_allowed()) }
}

/// Answers a request for a resource itself, not for a subresource.
async fn resource(
    server: &Server,
    ctx: &Arc<Context>,
    kind: &KindRef,
    request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let state = &server.state;
    let verb = ctx.info.verb.clone();
    check_verb(kind.verbs, &verb)?;
    if matches!(verb.as_str(), "list" | "watch" | "deletecollection") {
        list_options::check(&verb, &ctx.query)?;
    }
    decode::refuse_export(ctx)?;
    let one = !ctx.info.name.is_empty() || verb == "deletecollection";
    match verb.as_str() {
        "get" if kind.computed => return metrics::get(state, ctx, kind).await,
        "list" if kind.computed => return metrics::list_all(state, ctx, kind).await,
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
    let bytes = bytes_to_work_on(state, ctx, kind, &body);
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
    run_write(server, &user, bytes, work).await
}

/// Answers a watch with a stream of lines, or with messages if its request asks for a WebSocket.
async fn events(
    server: &Server,
    ctx: &Context,
    kind: &KindRef,
    mut request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let switch = websocket::requested_switch(&mut request)?;
    let answer = watch::watch(&server.state, ctx, kind.clone(), stop).await?;
    Ok(match switch {
        Some(switch) => websocket::send_events(server, ctx, switch, answer),
        None => answer,
    })
}

/// Carries out a write that has `bytes` bytes to work on. Once it has begun it goes on to its end,
/// even if its client hangs up.
async fn run_write<T: Send + 'static>(
    server: &Server,
    user: &User,
    bytes: usize,
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    if bytes <= LARGE {
        return run_to_end(server.crew(), work).await;
    }
    let state = &server.state;
    // On a thread of its own, which goes on where the client hangs up.
    let done = state.compute.run(user, bytes, state.stop.clone(), work).await;
    // Objects that are only read have a bound already.
    give_back_soon(server.crew());
    done
}

/// Runs `work` as a task of the server. As a part of the connection it would end wherever it is
/// when the client hangs up. Between the store's commit and the record of it that would leave a
/// write without an author, which undo and rewind could not name.
///
/// # Errors
/// Those of `work`; 503 when the server stops.
async fn run_to_end<T: Send + 'static>(
    crew: &Crew,
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let (sender, result) = oneshot::channel();
    crew.spawn(async move {
        // The client may have gone, and the receiver with it.
        let _ = sender.send(AssertUnwindSafe(work).catch_unwind().await);
    });
    match result.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(Status::unavailable("the server is stopping")),
    }
}

/// Returns the bytes that a write has to work on: its body as the answer repeats it, where a `<`
/// takes six bytes, and the object that it changes or deletes.
fn bytes_to_work_on(state: &State, ctx: &Context, kind: &Kind, body: &[u8]) -> usize {
    let changed = match ctx.info.verb.as_str() {
        "update" | "patch" | "delete" => {
            state.remembered(strategy::stored_kind(kind), ctx.info.object_namespace(), &ctx.info.name)
        }
        _ => None,
    };
    body.len() + gojson::added_by_escapes(body) + changed.map_or(0, |object| object.bytes.len())
}

/// What a subresource does that this server answers itself, and not another one.
#[derive(Clone, Copy)]
enum Action {
    /// Reads the object, or writes this part of it.
    Object(Part),
    Scale(ScalePaths),
    Bind,
    Evict,
    RequestToken,
}

impl Action {
    /// Finds what a subresource does; `None` for one that another server answers.
    fn of(kind: &Kind, subresource: &str) -> Option<Action> {
        Some(match subresource {
            "status" | "approval" => Action::Object(Part::Status),
            "ephemeralcontainers" => Action::Object(Part::Ephemeral),
            "finalize" => Action::Object(Part::Finalize),
            "scale" => Action::Scale(kind.scale?),
            "binding" => Action::Bind,
            "eviction" => Action::Evict,
            "token" => Action::RequestToken,
            _ => return None,
        })
    }
}

/// Answers a request for a subresource.
async fn subresource(
    server: &Server,
    ctx: &Arc<Context>,
    kind: &KindRef,
    request: Request<Body>,
) -> Result<Answer, Status> {
    let state = &server.state;
    let name = ctx.info.subresource.as_str();
    let Some(sub) = kind.sub(name) else { return Ok(not_found_page()) };
    let verb = ctx.info.verb.clone();
    if name != "proxy" {
        check_verb(sub.verbs, &verb)?;
    }
    decode::refuse_dry_run(ctx)?;
    decode::refuse_export(ctx)?;
    let Some(action) = Action::of(kind, name) else {
        return match name {
            "proxy" if kind.namespaced => pods::serve(state, ctx, request).await,
            "proxy" => kubelet::node(state, ctx, request).await,
            "log" | "exec" | "attach" | "portforward" => kubelet::pod(state, ctx, request).await,
            _ => Ok(not_found_page()),
        };
    };
    match (action, verb.as_str()) {
        (Action::Object(_), "get") => return reading::get(state, ctx, kind).await,
        (_, "patch") => write::check_media(ctx, kind)?,
        _ => {}
    }
    if verb != "get" {
        decode::write_options(ctx)?;
    }
    let body = state.bounds.read(&ctx.user, &ctx.info, &ctx.seat, request).await?;
    let body = decode::well_formed(&ctx.headers, body);
    let bytes = bytes_to_work_on(state, ctx, kind, &body);
    // The answer repeats what was sent, or what is stored: once something is written, it is too
    // late to refuse.
    state.bounds.hold(&ctx.user, &ctx.info, &ctx.seat, bytes)?;
    if matches!(action, Action::Bind | Action::Evict | Action::RequestToken) {
        admission::lifecycle(state, ctx, kind).await?;
    }
    let (state, ctx, kind) = (state.clone(), ctx.clone(), kind.clone());
    let user = ctx.user.clone();
    let work = async move {
        let (state, ctx, kind) = (&state, &*ctx, &kind);
        match action {
            Action::Object(part) if verb == "patch" => write::patch(state, ctx, kind, part, &body).await,
            Action::Object(part) => write::update(state, ctx, kind, part, &body).await,
            Action::Scale(paths) => scale::scale(state, ctx, kind, paths, &body).await,
            Action::Bind => binding::bind(state, ctx, &body).await,
            Action::Evict => eviction::evict(state, ctx, &body).await,
            Action::RequestToken => token_request::create(state, ctx, &body).await,
        }
    };
    run_write(server, &user, bytes, work).await
}
