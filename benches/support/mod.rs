//! What the benches share: the program, a client of its cluster, and a table of figures beside their aims.

use ropewalk::client::{Client, Endpoint, direct};
use ropewalk::pki::Identity;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub const ROPEWALK: &str = env!("CARGO_BIN_EXE_ropewalk");
/// Prints a line a figure: what, how much, and the aim or the peer.
pub struct Figures;

impl Figures {
    pub fn times(&self, what: &str, mut runs: Vec<Duration>, aim: &str) {
        runs.sort();
        let ms = |d: Duration| format!("{:.0}", d.as_secs_f64() * 1000.0);
        let p50 = runs[runs.len() / 2];
        let text = format!(
            "p50 {} ms (min {}, max {}, n={})",
            ms(p50),
            ms(runs[0]),
            ms(runs[runs.len() - 1]),
            runs.len()
        );
        println!("{what:<46} {text:<44} aim {aim}");
    }
    pub fn value(&self, what: &str, text: &str, aim: &str) {
        println!("{what:<46} {text:<44} aim {aim}");
    }
}

pub fn ropewalk(home: &Path, args: &[&str]) -> String {
    let output =
        Command::new(ROPEWALK).args(args).env("ROPEWALK_HOME", home).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn client(home: &Path) -> Client {
    use base64::Engine as _;
    let text = std::fs::read_to_string(home.join("clusters/main/kubeconfig")).expect("a kubeconfig");
    let config: Value = serde_yaml::from_str(&text).expect("YAML");
    let decode = |v: &Value| {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(v.as_str().expect("text")).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
    let server = cluster["server"]
        .as_str()
        .expect("a server")
        .trim_start_matches("https://")
        .parse()
        .expect("an address");
    let identity = Identity {
        cert_pem: decode(&user["client-certificate-data"]),
        key_pem: decode(&user["client-key-data"]),
    };
    Client::connect(Endpoint {
        servers: vec![server],
        server_name: "localhost".into(),
        ca_pem: decode(&cluster["certificate-authority-data"]),
        identity: Some(identity),
        user_agent: "bench".into(),
        dial: direct(),
    })
    .expect("a client")
}
