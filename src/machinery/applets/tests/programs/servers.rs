//! Servers that are killed, and servers that ask each other.

use crate::{Outcome, Room, outcome};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that listens. It is killed with this value.
struct Server {
    child: Child,
    port: String,
    first_line: String,
    // Its log goes on; a closed pipe would be another case.
    _log: BufReader<ChildStdout>,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        let port = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended after {first_line:?}");
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.trim().rsplit(':').next().unwrap().to_string();
            }
            if first_line.is_empty() {
                first_line = line;
            }
        };
        Server { child, port, first_line, _log: log }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a kubelet does; returns its exit code.
    fn stop(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn kv_cli(room: &Room, server: &Server, words: &[&str]) -> Outcome {
    outcome(room.program("kv-cli").args(["-p", &server.port]).args(words))
}

fn printed(out: &str) -> Outcome {
    Outcome { out: out.into(), err: String::new(), code: 0 }
}

pub(crate) fn a_key_value_server_that_is_killed_loses_nothing(room: &Room) {
    let dir = room.work.join("kv");
    std::fs::create_dir(&dir).unwrap();
    let start = || Server::start(room.program("kv-server").args(["--port", "0", "--dir"]).arg(&dir));
    let mut server = start();
    assert!(
        server.first_line.contains("of Ropewalk; speaks a part of Redis' protocol"),
        "{}",
        server.first_line
    );
    assert_eq!(kv_cli(room, &server, &["SET", "greeting", "hello"]), printed("OK\n"));
    assert_eq!(kv_cli(room, &server, &["--no-raw", "RPUSH", "list", "a", "b"]), printed("(integer) 2\n"));
    server.kill();
    let mut server = start();
    assert_eq!(kv_cli(room, &server, &["GET", "greeting"]), printed("hello\n"));
    // Lines of standard input, and errors as redis-cli ends with them.
    std::fs::write(room.work.join("lines"), "lpop list\n\nincr \"greeting\"\nget 'x\nquit\nflushall\n")
        .unwrap();
    let mut lines = room.program("kv-cli");
    lines.args(["-p", &server.port]).stdin(std::fs::File::open(room.work.join("lines")).unwrap());
    let error = "ERR value is not an integer or out of range\n\n";
    assert_eq!(outcome(&mut lines), printed(&format!("a\n{error}Invalid argument(s)\n")));
    assert_eq!(kv_cli(room, &server, &["INCR", "greeting"]), printed(error));
    assert_eq!(kv_cli(room, &server, &["-e", "INCR", "greeting"]).code, 1);
    assert_eq!(server.stop(), Some(0));
    let gone = kv_cli(room, &server, &["PING"]);
    let want = format!("Could not connect to 127.0.0.1:{}: Connection refused\n", server.port);
    assert_eq!(gone, Outcome { out: String::new(), err: want, code: 1 });
    if !std::path::Path::new("/data").exists() {
        let memory = Server::start(room.program("kv-server").args(["--port=0"]));
        assert!(memory.first_line.contains("memory only"), "{}", memory.first_line);
    }
}

pub(crate) fn a_shop_says_which_of_its_parts_is_missing(room: &Room) {
    let dir = room.work.join("shop");
    std::fs::create_dir(&dir).unwrap();
    let mut db = Server::start(room.program("kv-server").args(["--port", "0", "--dir"]).arg(&dir));
    let logic = |version: &str, db: &Server| {
        let mut command = room.program("shop-logic");
        command.env("PORT", "0").env("SHOP_VERSION", version).env("DB", format!("127.0.0.1:{}", db.port));
        Server::start(&mut command)
    };
    let (mut old, new) = (logic("1.0", &db), logic("1.1", &db));
    let page = |logic: &Server| {
        let mut command = room.program("shop-page");
        Server::start(command.env("PORT", "0").env("LOGIC", format!("127.0.0.1:{}", logic.port)))
    };
    let (page_of_old, page_of_new) = (page(&old), page(&new));
    for server in [&db, &old, &page_of_old] {
        assert!(server.first_line.contains("of Ropewalk"), "{}", server.first_line);
    }
    let ask = |server: &Server, method: &str, path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        outcome(room.program("curl").args(["-s", "-w", "%{http_code}", "-X", method, &url])).out
    };
    // Both put the first stock in, and it is counted once.
    let goods = ask(&page_of_new, "GET", "/goods");
    assert!(
        goods.contains("rope: 9 coins (10% off, before: 10), 10 in stock") && goods.ends_with("200"),
        "{goods}"
    );
    for left in (0..10).rev() {
        let server = if left % 2 == 0 { &page_of_old } else { &page_of_new };
        assert!(ask(server, "POST", "/buy?item=rope").ends_with("200"), "{left} left");
    }
    let goods = ask(&page_of_old, "GET", "/goods");
    assert!(goods.contains("rope: 10 coins, 0 in stock") && goods.contains("(version 1.0)"), "{goods}");
    // Each counts its own sales; a look, and an attempt that sells nothing, are none.
    let sold_out = ask(&page_of_old, "POST", "/buy?item=rope");
    for server in [&page_of_old, &page_of_new, &old, &new] {
        assert_eq!(ask(server, "GET", "/sold"), "5\n200");
    }
    assert!(sold_out.contains("The logic says: sold out: rope.") && sold_out.ends_with("409"), "{sold_out}");
    assert!(ask(&old, "GET", "/readyz").ends_with("200"));
    db.kill();
    let missing = ask(&page_of_old, "GET", "/goods");
    let want = format!("The page and the logic work, but the database 127.0.0.1:{} did not answer", db.port);
    assert!(missing.contains(&want) && missing.ends_with("503"), "{missing}");
    assert!(ask(&old, "GET", "/readyz").ends_with("503") && ask(&old, "GET", "/version").ends_with("200"));
    assert_eq!(old.stop(), Some(0));
    let missing = ask(&page_of_old, "GET", "/goods");
    let want = format!("The page works, but the logic 127.0.0.1:{} did not answer", old.port);
    assert!(missing.contains(&want) && missing.ends_with("503"), "{missing}");
    assert!(ask(&page_of_old, "GET", "/").ends_with("200"));
}
