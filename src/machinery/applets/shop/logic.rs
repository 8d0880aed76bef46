//! `shop-logic`: what the shop sells, and how much of it is left. Its stock is in a database.

use super::{LATE, Sales, ask_within, item_of_query};
use crate::daemon::{self, Answer, FullRequest};
use crate::kv::{self, Client, Reply};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may wait for the database. The page waits longer for this program, so that
/// it can say which part is missing.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Bytes of a reply of the database.
const REPLY_MAX: u64 = 64 << 10;

/// What is sold, and for how many coins.
const GOODS: &[(&str, u64)] = &[("rope", 10), ("lantern", 30), ("compass", 50)];
/// How many of each there are when the shop opens.
const FIRST_STOCK: &str = "10";
/// The database's key: a hash with a field for each good.
const STOCK: &str = "stock";
/// Versions other than the first one sell for less.
const FIRST_VERSION: &str = "1.0";
const DISCOUNT_PERCENT: u64 = 10;

struct Shop {
    /// The database, as it was named.
    named: String,
    db: Option<(String, u16)>,
    version: String,
    host: String,
    sales: Sales,
}

/// Reads `$PORT`, `$DB` and `$SHOP_VERSION`.
pub(crate) fn main(_: Vec<OsString>) -> i32 {
    let named = super::environment_or("DB", "db:6379");
    let shop = Shop {
        db: super::host_and_port(&named, kv::PORT),
        named,
        version: super::environment_or("SHOP_VERSION", FIRST_VERSION),
        host: crate::host_name(),
        sales: Sales::default(),
    };
    let hello = format!(
        "version {}, a small program of Ropewalk; its database is {} (from $DB)",
        shop.version, shop.named
    );
    let shop = Arc::new(shop);
    super::serve("shop-logic", &hello, |port| {
        daemon::serve_http(port, move |request| {
            let shop = shop.clone();
            async move { answer(shop, &request).await }
        })
    })
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    daemon::new_answer(status, "application/json", format!("{value}\n"))
}

async fn answer(shop: Arc<Shop>, request: &FullRequest) -> Answer {
    match (request.method.clone(), request.uri.path()) {
        (Method::GET | Method::HEAD, "/goods") => with_db(shop, |shop, db| shop.list_goods(db)).await,
        (Method::POST, "/buy") => match item_of_query(request) {
            Some(item) => with_db(shop, move |shop, db| shop.buy(db, &item)).await,
            None => json_answer(
                StatusCode::BAD_REQUEST,
                &shop.with_origin(json!({"error": "say what: /buy?item=NAME"})),
            ),
        },
        (Method::GET | Method::HEAD, "/version" | "/") => {
            json_answer(StatusCode::OK, &shop.with_origin(json!({})))
        }
        (Method::GET | Method::HEAD, "/healthz") => daemon::new_answer(StatusCode::OK, "text/plain", "ok\n"),
        (Method::GET | Method::HEAD, "/sold") => shop.sales.answer(),
        (Method::GET | Method::HEAD, "/readyz") => with_db(shop, |shop, db| shop.is_ready(db)).await,
        (_, "/goods" | "/buy" | "/version" | "/" | "/healthz" | "/readyz" | "/sold") => json_answer(
            StatusCode::METHOD_NOT_ALLOWED,
            &shop.with_origin(json!({"error": "/buy takes POST, the others GET"})),
        ),
        _ => json_answer(
            StatusCode::NOT_FOUND,
            &shop.with_origin(
                json!({"error": "there are /goods, /buy?item=NAME, /version, /sold, /healthz and /readyz"}),
            ),
        ),
    }
}

/// Answers with what the database says, or 503 without it.
async fn with_db(
    shop: Arc<Shop>,
    work: impl FnOnce(&Shop, &mut Client) -> Result<(StatusCode, Value), String> + Send + 'static,
) -> Answer {
    let its = shop.clone();
    let asking = ask_within(PATIENCE, move |deadline| {
        let place = its.db.as_ref().ok_or("$DB is to be HOST:PORT")?;
        let mut db = Client::connect((&place.0, place.1), deadline, REPLY_MAX)?;
        work(&its, &mut db)
    });
    match asking.await {
        Ok((status, value)) => json_answer(status, &shop.with_origin(value)),
        Err(why) => {
            let error = format!("the database {} did not answer: {why}", shop.named);
            json_answer(
                StatusCode::SERVICE_UNAVAILABLE,
                &shop.with_origin(json!({"error": error, "missing": "database"})),
            )
        }
    }
}

/// Runs a command of the database.
fn run_command(db: &mut Client, words: &[&str]) -> Result<Reply, String> {
    match db.call(words) {
        Ok(Reply::Error(text)) => Err(String::from_utf8_lossy(&text).into_owned()),
        Ok(reply) => Ok(reply),
        Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Err(LATE.into()),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err("it ended the connection".into()),
        Err(e) => Err(crate::reason(&e)),
    }
}

fn reply_number(reply: &Reply) -> Result<i64, String> {
    let text = match reply {
        Reply::Integer(number) => return Ok(*number),
        Reply::Bulk(Some(text)) => String::from_utf8_lossy(text),
        _ => return Err("the reply is no number".into()),
    };
    text.parse().map_err(|_| "the reply is no number".into())
}

impl Shop {
    /// Adds to an answer who gave it.
    fn with_origin(&self, mut value: Value) -> Value {
        value["logic"] = self.host.as_str().into();
        value["version"] = self.version.as_str().into();
        value["program"] = "shop-logic, a small program of Ropewalk".into();
        value
    }

    /// Coins for something that costs `price` in the first version.
    fn price(&self, price: u64) -> u64 {
        if self.version == FIRST_VERSION { price } else { price - price * DISCOUNT_PERCENT / 100 }
    }

    fn is_ready(&self, db: &mut Client) -> Result<(StatusCode, Value), String> {
        run_command(db, &["PING"])?;
        Ok((StatusCode::OK, json!({"database": self.named})))
    }

    /// Puts the first stock into the database. Every copy of this program may do it at any time:
    /// only the first one for each good counts.
    fn put_first_stock(&self, db: &mut Client) -> Result<(), String> {
        for (item, _) in GOODS {
            run_command(db, &["HSETNX", STOCK, item, FIRST_STOCK])?;
        }
        Ok(())
    }

    fn list_goods(&self, db: &mut Client) -> Result<(StatusCode, Value), String> {
        self.put_first_stock(db)?;
        let mut goods = Vec::new();
        for (item, price) in GOODS {
            // For a moment it is below zero, while a sale is taken back.
            let stock = reply_number(&run_command(db, &["HGET", STOCK, item])?)?.max(0);
            let mut good = json!({"item": item, "price": self.price(*price), "stock": stock});
            if self.version != FIRST_VERSION {
                good["regular_price"] = (*price).into();
                good["discount_percent"] = DISCOUNT_PERCENT.into();
            }
            goods.push(good);
        }
        Ok((StatusCode::OK, json!({"goods": goods})))
    }

    /// Takes one from the stock. The database counts, so two buyers never get the last one.
    fn buy(&self, db: &mut Client, item: &str) -> Result<(StatusCode, Value), String> {
        let Some((item, price)) = GOODS.iter().find(|(known, _)| *known == item) else {
            return Ok((StatusCode::NOT_FOUND, json!({"error": format!("this shop does not sell {item}")})));
        };
        self.put_first_stock(db)?;
        let sold_out = (StatusCode::CONFLICT, json!({"error": format!("sold out: {item}")}));
        // Checked first, so that a request for what is sold out takes nothing: if the database
        // failed before it was put back, the stock would stay below zero.
        if reply_number(&run_command(db, &["HGET", STOCK, item])?)? <= 0 {
            return Ok(sold_out);
        }
        let left = reply_number(&run_command(db, &["HINCRBY", STOCK, item, "-1"])?)?;
        if left < 0 {
            run_command(db, &["HINCRBY", STOCK, item, "1"])?;
            return Ok(sold_out);
        }
        self.sales.add_one();
        Ok((StatusCode::OK, json!({"bought": item, "price": self.price(*price), "stock": left})))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::request_of;
    use http_body_util::BodyExt;
    use std::io::{Read, Write};

    fn shop(version: &str, db: &str) -> Arc<Shop> {
        let db_place = super::super::host_and_port(db, kv::PORT);
        Arc::new(Shop {
            named: db.into(),
            db: db_place,
            version: version.into(),
            host: "logic-1".into(),
            sales: Sales::default(),
        })
    }

    async fn outcome(shop: &Arc<Shop>, method: &str, uri: &str) -> (u16, String) {
        let answer = answer(shop.clone(), &request_of(method, uri)).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn a_later_version_sells_for_less() {
        assert_eq!((shop("1.0", "db").price(30), shop("1.1", "db").price(30)), (30, 27));
    }

    /// Starts a database without any stock. It ends with its first client and returns that one's
    /// requests.
    fn empty_database() -> (String, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut requests, mut buffer) = (String::new(), [0; 1024]);
            loop {
                let count = stream.read(&mut buffer).unwrap();
                if count == 0 {
                    return requests;
                }
                let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
                let reply = match request.as_str() {
                    text if text.contains("HGET") => "$1\r\n0\r\n",
                    text if text.contains("HINCRBY") => ":-1\r\n",
                    _ => ":0\r\n",
                };
                stream.write_all(reply.as_bytes()).unwrap();
                requests.push_str(&request);
            }
        });
        (address, thread)
    }

    #[tokio::test]
    async fn a_request_for_what_is_sold_out_changes_nothing() {
        let (address, database) = empty_database();
        let (status, text) = outcome(&shop("1.0", &address), "POST", "/buy?item=rope").await;
        assert!(status == 409 && text.contains("sold out: rope"), "{text}");
        let requests = database.join().unwrap();
        assert!(requests.contains("HGET") && !requests.contains("HINCRBY"), "{requests}");
    }

    /// The only thread is busy until the question was given up.
    #[test]
    fn a_question_that_was_given_up_is_not_asked_later() {
        let database = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let shop = shop("1.0", &database.local_addr().unwrap().to_string());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (free, busy) = std::sync::mpsc::channel::<()>();
            let first = tokio::task::spawn_blocking(move || busy.recv());
            let (status, text) = outcome(&shop, "POST", "/buy?item=rope").await;
            assert!(status == 503 && text.contains("no answer in time"), "{text}");
            free.send(()).unwrap();
            first.await.unwrap().unwrap();
            tokio::task::spawn_blocking(|| {}).await.unwrap(); // behind the question
        });
        database.set_nonblocking(true).unwrap();
        assert_eq!(database.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn without_a_database_it_says_which_one_is_missing() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shop = shop("1.0", &closed.to_string());
        for (method, uri) in [("GET", "/goods"), ("POST", "/buy?item=rope"), ("GET", "/readyz")] {
            let (status, text) = outcome(&shop, method, uri).await;
            assert_eq!(status, 503);
            let want = format!("the database {closed} did not answer: Connection refused");
            assert!(text.contains(&want) && text.contains("\"missing\":\"database\""), "{text}");
        }
        assert_eq!(outcome(&shop, "GET", "/healthz").await, (200, "ok\n".into()));
        let (status, text) = outcome(&shop, "GET", "/version").await;
        assert!(
            status == 200 && text.contains("\"version\":\"1.0\"") && text.contains("of Ropewalk"),
            "{text}"
        );
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&text), read(include_str!("../answers/logic.json")));
        assert_eq!(outcome(&shop, "GET", "/sold").await, (200, "0\n".into()), "no attempt is a sale");
        assert_eq!(outcome(&shop, "POST", "/sold").await.0, 405);
        assert_eq!(outcome(&shop, "GET", "/buy?item=rope").await.0, 405);
        assert_eq!(outcome(&shop, "POST", "/buy").await.0, 400);
        assert_eq!(outcome(&shop, "GET", "/x").await.0, 404);
    }
}
