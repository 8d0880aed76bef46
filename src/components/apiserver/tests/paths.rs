//! Paths that are no object's own: health pages.

use crate::testing::Api;
use serde_json::Value;

#[tokio::test]
async fn health_pages_name_their_checks() {
    const NOT_FOUND: &str = "404 page not found\n";
    const CHECKED: &str = "[+]ping ok\n[+]etcd ok\n[+]poststarthook/bootstrap ok\nreadyz check passed\n";
    const EXCLUDED: &str = "[+]ping ok\n[+]etcd excluded: ok\n[+]poststarthook/bootstrap ok\n\
        warn: some health checks cannot be excluded: no matches for \"a\",\"none\"\nreadyz check passed\n";
    let api = Api::bare().await;
    for (path, code, text) in [
        ("/readyz", 200, "ok"),
        ("/readyz?verbose", 200, CHECKED),
        ("/readyz?verbose&exclude=etcd&exclude=none&exclude=a", 200, EXCLUDED),
        ("/livez?verbose", 200, "[+]ping ok\nlivez check passed\n"),
        ("/healthz/ping", 200, "ok"),
        ("/readyz/etcd", 200, "ok"),
        ("/readyz/poststarthook/bootstrap", 200, "ok"),
        ("/readyz/etcdd", 404, NOT_FOUND),
        ("/livez/nonsense", 404, NOT_FOUND),
    ] {
        assert_eq!(api.get(path).await, (code, Value::from(text)), "{path}");
    }
}

#[tokio::test]
async fn a_failed_check_is_named_and_its_reason_is_told_on_its_own_page() {
    const FAILED: &str = "[+]ping ok\n[+]etcd ok\n\
        [-]poststarthook/bootstrap failed: reason withheld\nreadyz check failed\n";
    let api = Api::bare().await;
    api.state().started.send_replace(false);
    for (path, code, text) in [
        ("/readyz", 500, FAILED),
        ("/readyz?exclude=poststarthook/bootstrap", 200, "ok"),
        ("/readyz/poststarthook/bootstrap", 500, "internal server error: not finished\n"),
        ("/livez", 200, "ok"),
    ] {
        assert_eq!(api.get(path).await, (code, Value::from(text)), "{path}");
    }
}
