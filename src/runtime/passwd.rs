//! /etc/passwd of a container, read without libc: a static glibc would load modules of the container's image.

/// What a container needs to know about its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub gid: u32,
    pub home: String,
}

/// The line `name:password:uid:gid:comment:home:shell` of a user. Lines that are not like that are passed over.
pub fn find(passwd: &str, uid: u32) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, id, gid, _, home, ..] = fields[..] else { return None };
        (id.parse() == Ok(uid)).then_some(User { gid: gid.parse().ok()?, home: home.to_string() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let text = "broken\nroot:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/var/cache/nginx:/bin/false\n";
        assert_eq!(find(text, 101), Some(User { gid: 102, home: "/var/cache/nginx".into() }));
        assert_eq!(find(text, 1000), None);
    }
}
