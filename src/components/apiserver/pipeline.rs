//! The path of a request, on one page: what is here is what runs.
//!
//! [`serve`] takes every request through its first two stages, [`write()`] takes every write of an
//! object through the rest: seven calls in order.
//!
//! | call | what it does | a refusal |
//! |---|---|---|
//! | [`authenticate`] | certificate or token, then impersonation (`--as`) | 401, 403 |
//! | [`authorize`] | the node authorizer, then RBAC | 403 |
//! | [`Write::decode`] | what the client wants: a body, a patch merged into what is stored | 400, 409, 415, 422 |
//! | [`Write::default`] | what the server fills in: defaults, generation, managed fields | |
//! | [`Write::admit`] | mutating plug-ins; for changes and deletes the node restriction | 403 |
//! | [`Write::validate`] | the kind's rules; no user gives away rights that it lacks | 403, 409, 422 |
//! | [`Write::commit`] | a Service's addresses, validating plug-ins and quotas, then one transaction | 403, 409, 422, 500, 507 |
//!
//! Create, update, patch, apply and delete differ in these five methods only (`registry::write`,
//! `registry::delete`). Kubernetes demands three things of the order:
//!
//! - Mutating admission comes before validation: what a plug-in adds is validated as well.
//! - Validating plug-ins come last, with the transaction. A quota is charged by the transaction
//!   that makes the object, so a conflict on the quota asks these plug-ins again.
//! - A write that names no resourceVersion and finds that the object has changed goes through
//!   [`write()`] again with the object as it is now: the patch is applied, admitted and validated
//!   anew. The loops are `modify` in `registry::write` and `remove` in `registry::delete`. A new
//!   object cannot change meanwhile, so its `commit` repeats only itself; but a create that an
//!   outdated cache refused goes through [`write()`] a second time.
//!
//! The body of a create, an update or a delete is parsed once, before the first attempt
//! (`request::decode`); [`Write::decode`] hands it to each attempt.
//!
//! Five writes do not come here: undo restores many objects in one transaction, `bootstrap` and
//! `reconcile` act for the server itself, `auth::tokens` notes in a Secret when its token was used,
//! an eviction spends its disruption budget before the delete comes here, and a stored value that
//! cannot be decoded is only removed.

use crate::auth::authn::{Caller, authenticate};
use crate::auth::rbac::authorize;
use crate::flowcontrol::seat::Seat;
use crate::request::context::Context;
use crate::request::http::{Answer, Body};
use crate::request::{lifecycle, pretty, refused_body, time_limit};
use crate::server::Server;
use api::Status;
use clock::Instant;
use futures::FutureExt;
use http::Request;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// The answer to a request whose handler panicked; upstream's.
const PANICKED: &str = "This request caused apiserver to panic. Look in the logs for details.";

/// Answers one request. What flow control refuses is not recorded: a flood must not fill the tap.
/// A request whose credentials are not believed is recorded as a guest's, of which few are kept.
pub(crate) async fn serve(
    router: &impl Route,
    server: &Server,
    request: Request<Body>,
    caller: Caller<'_>,
    stop: CancellationToken,
) -> Answer {
    let started = Instant::now();
    server.state.requests.fetch_add(1, Ordering::Relaxed);
    let id = server.state.rng.uuid();
    let seat = Seat::new(request.extensions().get().cloned());
    let (headers, connection) = (request.headers(), request.extensions().get());
    let entered = match authenticate(&server.state, caller, headers, connection).await {
        Ok(user) => lifecycle::enter(server, id.clone(), user, &request, &seat),
        Err(status) => {
            lifecycle::record_unauthenticated(server, id.clone(), &request, started, &status);
            Err(status)
        }
    };
    let ctx = match entered {
        Ok(ctx) => ctx,
        Err(status) => {
            let refused = |status: &Status| pretty::refusal(&request, status);
            let mut answer = server.state.bounds.refuse(&seat, &status, refused);
            lifecycle::fill_headers(&mut answer, request.headers(), &id);
            return answer;
        }
    };
    let done = answer(router, server, &ctx, request, stop).await;
    lifecycle::finish(&server.state, &ctx, started, done).await
}

/// Reads are answered by the function that the router finds; a write goes on in [`write()`]. A
/// client may limit the time; a write that has begun then still goes on to its end. A panic ends
/// this request alone, not the others of its connection (upstream: `WithPanicRecovery`).
async fn answer(
    router: &impl Route,
    server: &Server,
    ctx: &Arc<Context>,
    request: Request<Body>,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let limit = time_limit::requested(&ctx.info, &ctx.query)?;
    // On the heap: it is large, and a limit holds it once more.
    let work = async {
        if let Err(refusal) = authorize(&server.state, ctx).await {
            refused_body::note(ctx, request).await;
            return Err(refusal);
        }
        router.route(server, ctx, request, stop).await
    };
    let work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    let done = match limit {
        None => work.await,
        Some(limit) => clock::limit(limit, work).await.unwrap_or_else(|| {
            ctx.seat.outlive_answer();
            Ok(Err(time_limit::exceeded()))
        }),
    };
    done.unwrap_or_else(|_| {
        tracing::error!(path = %ctx.info.path, "a request made the server panic");
        Err(Status::new(500, "InternalError", PANICKED))
    })
}

/// Finds the function that answers an authorized request: `request::router` does. The functions
/// that it finds call [`write()`], so [`serve`] takes the router as an argument instead of naming
/// it.
pub(crate) trait Route: Sync {
    /// Finds the function, and returns its answer.
    fn route(
        &self,
        server: &Server,
        ctx: &Arc<Context>,
        request: Request<Body>,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<Answer, Status>> + Send;
}

/// Carries out one attempt of a write.
///
/// # Errors
/// Those of the stages, as the table above has them.
pub(crate) async fn write<W: Write>(attempt: &W) -> Result<W::Done, Status> {
    let wanted = attempt.decode()?;
    let mut planned = attempt.default(wanted)?;
    attempt.admit(&mut planned).await?;
    attempt.validate(&planned).await?;
    attempt.commit(planned).await
}

/// One attempt to write one object, in the stages in which the verbs differ.
pub(crate) trait Write: Sync {
    /// What the client asks for: an object, or the options of a delete.
    type Wanted: Send;
    /// What is to be stored.
    type Planned: Send + Sync;
    /// How the attempt ended.
    type Done: Send;

    /// Returns what the client wants, with what is stored in view.
    fn decode(&self) -> Result<Self::Wanted, Status>;
    /// Fills in what the server fills in.
    fn default(&self, wanted: Self::Wanted) -> Result<Self::Planned, Status>;
    /// Lets the mutating plug-ins change the object.
    fn admit(&self, planned: &mut Self::Planned) -> impl Future<Output = Result<(), Status>> + Send;
    /// Judges the object by the rules of its kind.
    fn validate(&self, planned: &Self::Planned) -> impl Future<Output = Result<(), Status>> + Send;
    /// Asks the validating plug-ins and writes, in one transaction with all that belongs to it.
    fn commit(&self, planned: Self::Planned) -> impl Future<Output = Result<Self::Done, Status>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::{MASTERS, User};
    use crate::request::http::full;
    use crate::testing::Api;
    use http_body_util::BodyExt;

    /// A router whose functions have a fault.
    struct Faulty;

    impl Route for Faulty {
        async fn route(
            &self,
            _: &Server,
            _: &Arc<Context>,
            _: Request<Body>,
            _: CancellationToken,
        ) -> Result<Answer, Status> {
            panic!("a fault")
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_request_alone() {
        let api = Api::bare().await;
        for path in ["/api/v1/pods", "/api/v1/pods?timeout=9s"] {
            let caller = Caller::InProcess(User::new("admin", &[MASTERS]));
            let request = Request::get(path).body(full("")).unwrap();
            let answer = serve(&Faulty, &api.fixture.server, request, caller, CancellationToken::new()).await;
            assert_eq!(answer.status(), 500);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(PANICKED));
        }
        assert_eq!(api.get("/api/v1/namespaces/default").await.0, 200);
    }
}
