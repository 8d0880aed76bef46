//! `member list`.

use super::super::ctx::Ctx;
use super::super::fail::{FILE, Fail};
use super::super::out::{Format, table};
use super::keys::is_serializable;
use etcd::pb;
use serde::Serialize;

pub(crate) async fn list(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let ask = pb::MemberListRequest { linearizable: !is_serializable(&ctx.given)? };
    let answer: pb::MemberListResponse =
        ctx.connect().await?.repeat("/etcdserverpb.Cluster/MemberList", ask).await?;
    let row = |m: &pb::Member| {
        // one that has never spoken has no name
        let status = if m.name.is_empty() { "unstarted" } else { "started" };
        let (peers, clients) = (m.peer_urls.join(","), m.client_urls.join(","));
        vec![format!("{:x}", m.id), status.into(), m.name.clone(), peers, clients, m.is_learner.to_string()]
    };
    let rows: Vec<Vec<String>> = answer.members.iter().map(row).collect();
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json if ctx.out.hex => return ctx.out.line(&in_hexadecimal(&answer)?).await,
        Format::Json => return ctx.out.json(&answer).await,
        Format::Simple => rows.iter().for_each(|r| page.line(r.join(", "))),
        Format::Table => {
            let headings = ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"];
            page.bytes = table(&headings, &rows).into_bytes();
        }
        Format::Fields => {
            page.header(&answer.header);
            for m in &answer.members {
                page.id("ID", m.id);
                page.text("Name", &m.name);
                m.peer_urls.iter().for_each(|u| page.text("PeerURL", u));
                m.client_urls.iter().for_each(|u| page.text("ClientURL", u));
                page.field("IsLearner", m.is_learner);
                page.line("");
            }
        }
    }
    ctx.out.send(&page.bytes).await
}

/// The list as JSON with its ids as `move-leader` takes them. It has the fields that etcdctl's own
/// has: no revision, and not who is a learner.
fn in_hexadecimal(answer: &pb::MemberListResponse) -> Result<String, Fail> {
    #[derive(Serialize)]
    struct Header {
        cluster_id: String,
        member_id: String,
        raft_term: u64,
    }
    #[derive(Serialize)]
    struct Member<'a> {
        #[serde(rename = "ID")]
        id: String,
        name: &'a str,
        #[serde(rename = "peerURLs")]
        peer_urls: Option<&'a [String]>,
        #[serde(rename = "clientURLs")]
        client_urls: Option<&'a [String]>,
    }
    #[derive(Serialize)]
    struct List<'a> {
        header: Header,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        members: Vec<Member<'a>>,
    }
    let header = answer.header.clone().unwrap_or_default();
    let header = Header {
        cluster_id: format!("{:x}", header.cluster_id),
        member_id: format!("{:x}", header.member_id),
        raft_term: header.raft_term,
    };
    let mut members = Vec::with_capacity(answer.members.len());
    for m in &answer.members {
        // Go writes a list of nothing as null.
        let [peer_urls, client_urls] =
            [&m.peer_urls, &m.client_urls].map(|urls| (!urls.is_empty()).then_some(&urls[..]));
        members.push(Member { id: format!("{:x}", m.id), name: &m.name, peer_urls, client_urls });
    }
    serde_json::to_string(&List { header, members }).map_err(|e| Fail::new(FILE, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by etcdctl 3.6 for the same list.
    #[test]
    fn ids_in_hexadecimal_are_texts() {
        let header =
            pb::ResponseHeader { cluster_id: 0xab, member_id: 0x1f, raft_term: 2, ..Default::default() };
        let member = pb::Member {
            id: 0x1f,
            name: "a".into(),
            peer_urls: vec!["http://p".into()],
            ..Default::default()
        };
        let answer = pb::MemberListResponse { header: Some(header), members: vec![member] };
        let want = r#"{"header":{"cluster_id":"ab","member_id":"1f","raft_term":2},"members":[{"ID":"1f","name":"a","peerURLs":["http://p"],"clientURLs":null}]}"#;
        assert_eq!(in_hexadecimal(&answer).ok().as_deref(), Some(want));
    }
}
