//! set resources: the limits and requests of containers.

use super::set::each;
use super::set_env::{CONTAINERS, chosen};
use super::typed::spec_path;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::merge;
use api::gostr;
use api::quantity::{Quantity, as_stored};
use api::value;
use serde_json::{Map, Value};

/// Reads amounts of resources: `cpu=100m,memory=1Gi`. Source: kubectl's `populateResourceListV1`.
///
/// # Errors
/// [`Fail::Text`]: a part is no pair, or an amount cannot be read.
pub(crate) fn amounts(given: &str) -> Result<Map<String, Value>, Fail> {
    let mut map = Map::new();
    for pair in given.split(',') {
        let parts: Vec<&str> = pair.split('=').collect();
        let [name, amount] = parts.as_slice() else {
            return text(format!("Invalid argument syntax {pair}, expected <resource>=<value>"));
        };
        let amount = as_stored(amount).map_err(|why| Fail::Text(why.into()))?;
        map.insert(name.to_string(), amount.into());
    }
    Ok(map)
}

/// Gives a container these limits and requests. An amount that it has already, however it is
/// written, stays.
fn put_amounts(container: &mut Value, wanted: &Map<String, Value>) {
    let quantity = |amount: &Value| Quantity::parse(&gostr::plain(amount));
    for (key, amounts) in wanted {
        let there = value::slot_map(container, &format!("resources.{key}"));
        for (name, amount) in amounts.as_object().into_iter().flatten() {
            if there.get(name).is_none_or(|old| quantity(old) != quantity(amount)) {
                there.insert(name.clone(), amount.clone());
            }
        }
    }
}

pub(crate) async fn resources(ctx: &Ctx) -> Result<(), Fail> {
    let (limits, requests) = (ctx.flags.text("limits"), ctx.flags.text("requests"));
    if limits.is_empty() && requests.is_empty() {
        return text("you must specify an update to requests or limits (in the form of --requests/--limits)");
    }
    let mut wanted = Map::new();
    for (key, given) in [("limits", limits), ("requests", requests)] {
        if !given.is_empty() {
            wanted.insert(key.into(), amounts(given)?.into());
        }
    }
    let pattern = ctx.flags.text("containers");
    each(ctx, &ctx.args, "resource requirements updated", |info, _| {
        let mut after = info.object.clone();
        let path = spec_path(&info.resource.kind).unwrap_or_default();
        let mut any = false;
        for field in CONTAINERS {
            for container in value::list_mut(&mut after, &format!("{path}.{field}")) {
                if chosen(pattern, value::text(container, "name")) {
                    any = true;
                    put_amounts(container, &wanted);
                }
            }
        }
        if !any {
            return text(format!("error: unable to find container named {pattern}"));
        }
        // The patch names all containers in their order, as kubectl's does.
        let patch = merge::strategic_two_way(&info.resource.kind, &info.object, &after);
        Ok(Some(value::at(&patch, path).clone()).filter(Value::is_object))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use serde_json::json;

    #[test]
    fn amounts_that_are_there_are_no_change() {
        let after = |mut container: Value, given: &str| {
            let mut wanted = Map::new();
            wanted.insert("limits".into(), amounts(given).unwrap().into());
            put_amounts(&mut container, &wanted);
            container["resources"]["limits"].clone()
        };
        let container = json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}});
        let same = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(after(container.clone(), "cpu=1000m,memory=1024Mi"), same);
        assert_eq!(after(container, "cpu=2"), json!({"cpu": "2", "memory": "1Gi"}));
        assert_eq!(after(json!({}), "cpu=1"), json!({"cpu": "1"}));
    }

    #[tokio::test]
    async fn a_patch_of_amounts_names_the_order_of_all_containers() {
        let server = Server::start().await;
        let containers = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": containers}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
        let result = server.kubectl(&["set", "resources", "deploy/web", "-c", "b", "--limits=cpu=1"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let sent = server.requests().into_iter().find(|a| a.method == "PATCH").expect("a patch").body;
        let want = json!({
            "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
            "containers": [{"name": "b", "resources": {"limits": {"cpu": "1"}}}],
        });
        assert_eq!(sent["spec"]["template"]["spec"], want);
    }

    /// As `ParseQuantity` of apimachinery 0.35 and `String` give them.
    #[test]
    fn amounts_are_written_as_they_are_stored() {
        let written = Value::Object(amounts("cpu=0.5,memory=0.1Gi,a=1.500").unwrap());
        assert_eq!(written, json!({"cpu": "500m", "memory": "107374182400m", "a": "1.500"}));
        assert!(amounts("cpu=x").is_err());
    }
}
