use super::*;
use crate::web::fake::board_with_one_disabled;

const PAGES: [&str; 7] = [
    "/",
    "/?q=battery&show=all",
    "/entities/HLVN",
    "/entities/EUR%2FXAU?hours=24",
    "/alerts/c0ffee01",
    "/alerts/c0ffee04",
    "/campaigns/spring",
];

#[tokio::test]
async fn what_comes_from_outside_is_only_ever_text() {
    let server = start().await;
    let pages = [
        "/",
        "/entities/HLVN",
        "/alerts/c0ffee02",
        "/?q=%22%3E%3Cscript%3Ealert(9)%3C/script%3E",
    ];
    for path in pages {
        let page = server.page(path).await;
        assert!(page.contains("&lt;script&gt;"), "{path} shows the text");
        for hostile in ["<script>", "<img", "<b>bold", "\"javascript:"] {
            assert!(!page.contains(hostile), "{path} holds {hostile}");
        }
    }
}

#[tokio::test]
async fn pages_hold_no_inline_script_or_style() {
    let server = start().await;
    for path in PAGES {
        let page = server.page(path).await;
        for inline in [" style=", "<style", " onclick", " onload", "NaN"] {
            assert!(!page.contains(inline), "{path} holds {inline}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn outside_links_give_nothing_away() {
    let page = start().await.page("/entities/HLVN").await;
    let links: Vec<&str> = page
        .split("<a ")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .collect();
    let outside: Vec<_> = links
        .iter()
        .filter(|link| link.contains("https://"))
        .collect();
    assert!(!outside.is_empty());
    for link in outside {
        assert!(
            link.contains("rel=\"noopener noreferrer nofollow\""),
            "{link}"
        );
    }
}

#[tokio::test]
async fn the_crisis_is_first_and_told_in_words() {
    let page = start().await.page("/").await;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("id=\"alert-c0ffee01\"") < place("id=\"alert-c0ffee02\""));
    assert!(place("id=\"alerts\"") < place("id=\"entities\""));
    assert!(place("id=\"entity-HLVN\"") < place("id=\"entity-NRDC\""));
    assert!(place("id=\"entity-NRDC\"") < place("id=\"entity-VLTA\""));
    for words in [
        "Critical",
        "1 in 83 billion",
        "<b class=\"big\">33</b> negative mentions in 1 min",
        "<b>1.4</b> expected",
        "6 copies",
        "Acknowledged by <b>Kim</b>",
        "2 alerts open, the newest: NRDC, warning, since 09:21 UTC.",
        "2 over",
    ] {
        place(words);
    }
}

#[tokio::test]
async fn an_open_alert_puts_its_entity_first_and_marks_it() {
    let server = start().await;
    let entities = async || -> String {
        let page = server.page("/").await;
        page.split("id=\"entities\"").nth(1).unwrap().to_owned()
    };
    let row = |entities: &str, id: &str| -> (usize, String) {
        let begin = entities.find(&format!("id=\"entity-{id}\"")).unwrap();
        let end = begin + entities[begin..].find("</tr>").unwrap();
        (begin, entities[begin..end].to_owned())
    };
    let before = entities().await;
    assert!(row(&before, "HLVN").1.contains("href=\"/alerts/c0ffee01\""));
    assert!(row(&before, "HLVN").0 < row(&before, "NRDC").0);
    assert!(!row(&before, "KSTR").1.contains("/alerts/"));
    {
        // A warning of one that nothing has mentioned for hours, and one of a company where all is calm.
        let mut alerts = server.store.alerts.lock().unwrap();
        let warning = alerts[1].clone();
        for (entity, id) in [("NOBODY", "c0ffee05"), ("VLTA", "c0ffee06")] {
            let mut alert = warning.clone();
            alert.latest.entity = entity.into();
            alert.latest.alert_id = id.into();
            alerts.push(alert);
        }
    }
    *server.store.version.lock().unwrap() += 1;
    let after = entities().await;
    let (nobody, told) = row(&after, "NOBODY");
    assert!(told.contains("/alerts/c0ffee05") && told.contains("Warning"));
    let (calm, told) = row(&after, "VLTA");
    assert!(
        told.contains("usual") && told.contains("/alerts/c0ffee06"),
        "{told}"
    );
    for other in ["QNTR", "ORLA", "TESS", "KSTR"] {
        let (place, _) = row(&after, other);
        assert!(nobody < place && calm < place, "{other}");
    }
}

#[tokio::test]
async fn alerts_that_are_over_say_how_they_ended() {
    let server = start().await;
    for (id, word, other) in [
        ("c0ffee03", "Resolved", "Retracted"),
        ("c0ffee04", "Retracted", "Resolved"),
    ] {
        let page = server.page(&format!("/alerts/{id}")).await;
        assert!(page.contains("class=\"alert ended\""), "{id}");
        assert!(page.contains(&format!("class=\"end\">{word}<")), "{id}");
        assert!(!page.contains(&format!("class=\"end\">{other}<")), "{id}");
        assert!(!page.contains("Acknowledge</button>"), "{id}");
    }
    let page = server.page("/alerts/c0ffee04").await;
    assert!(page.contains("were taken back. What is left:"));
    assert!(page.contains("<b class=\"big\">1</b> negative mention in 1 min"));
    assert!(
        !server
            .page("/alerts/c0ffee01")
            .await
            .contains("class=\"end\"")
    );
}

#[tokio::test]
async fn the_filter_looks_at_names_ids_and_sectors() {
    let server = start().await;
    for (filter, found) in [("halvor", "HLVN"), ("nrdc", "NRDC"), ("Health", "QNTR")] {
        let page = server.page(&format!("/?q={filter}")).await;
        assert!(page.contains(&format!("id=\"entity-{found}\"")), "{filter}");
        assert!(!page.contains("id=\"entity-VLTA\""), "{filter}");
    }
    assert!(
        server
            .page("/?q=zzz")
            .await
            .contains("No entity of the last hours fits “zzz”.")
    );
}

#[tokio::test]
async fn an_empty_store_says_what_to_do() {
    let server = start_with("", FakeStore::default(), |_| ()).await;
    let page = server.page("/").await;
    assert!(page.contains("No posts yet.") && page.contains("No open alerts."));
    server.page("/entities/HLVN").await;
    server.page("/campaigns/spring").await;
    for path in ["/entities/NOBODY", "/alerts/nothing", "/campaigns/autumn"] {
        server
            .refused(server.get(path), StatusCode::NOT_FOUND)
            .await;
    }
}

#[tokio::test]
async fn an_alert_is_acknowledged_from_its_form() {
    let server = start().await;
    let form = server
        .post("/alerts/c0ffee01/ack")
        .body("by=J%C3%BCrgen+%3Cb%3E&from=card");
    let response = form.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/#alert-c0ffee01");
    let who = header(&response, "set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(
        server
            .page("/")
            .await
            .contains("Acknowledged by <b>Jürgen &lt;b&gt;</b>")
    );
    // The name is there the next time.
    server.store.alerts.lock().unwrap()[1].acknowledged = None;
    *server.store.version.lock().unwrap() += 1;
    let page = server.get("/").header("cookie", who).send().await.unwrap();
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("value=\"Jürgen &lt;b&gt;\"")
    );
    let empty = server.post("/alerts/c0ffee01/ack").body("by=");
    server.refused(empty, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn an_acknowledgement_that_is_not_stored_yet_says_so() {
    let server = start_with("", scene(), |web| {
        web.control = Arc::new(|_| Box::pin(async { Ok(()) }));
    })
    .await;
    let form = server.post("/alerts/c0ffee01/ack").body("by=Kim&from=card");
    let response = form.send().await.unwrap();
    let back = header(&response, "location").to_owned();
    assert_eq!(back, "/alerts/c0ffee01?sent=1");
    assert!(
        server
            .page(&back)
            .await
            .contains("The acknowledgement was sent.")
    );
}

#[tokio::test]
async fn the_overview_is_gathered_anew_when_the_store_has_changed() {
    let server = start().await;
    let version = |page: &str| {
        let rest = page.split("data-version=\"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    assert_eq!(version(&server.page("/").await), "1");
    server.store.acknowledge("c0ffee01", "Robin");
    let page = server.page("/").await;
    assert_eq!(version(&page), "2");
    assert!(page.contains("<b>Robin</b>"));
}

#[tokio::test]
async fn longer_times_have_longer_steps() {
    let server = start().await;
    for (hours, each) in [
        (2, "per minute"),
        (6, "per 5 minutes"),
        (24, "per 15 minutes"),
    ] {
        let page = server.page(&format!("/entities/HLVN?hours={hours}")).await;
        assert!(page.contains(&format!("Mentions {each}")));
        assert!(page.contains(&format!("hours={hours}\" aria-current=\"true\"")));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_disabled_is_said_above_the_alerts_with_the_remedy() {
    let well = start().await.page("/").await;
    assert!(!well.contains("Alerts do not arrive"));
    let server = start_with("", scene(), |web| {
        web.board = Some(board_with_one_disabled());
    })
    .await;
    let page = server.page("/").await;
    let (before, rest) = page.split_once("Alerts do not arrive").unwrap();
    assert!(!before.contains("id=\"alerts\""), "it comes first");
    let (said, _) = rest.split_once("id=\"alerts\"").unwrap();
    assert!(said.contains("<b>desk</b> is disabled since"), "{said}");
    assert!(
        said.contains("2026-11-2") && said.contains("410 Gone"),
        "{said}"
    );
    assert!(said.contains("squall alerts enable desk"), "{said}");
    assert!(
        said.contains("&lt;b&gt;moved"),
        "what a receiver says is text"
    );
    assert!(!said.contains("archive"), "{said}");
    let all = server.json("/v1/endpoints").await;
    let (archive, desk) = (&all["endpoints"][0], &all["endpoints"][1]);
    assert!(archive.get("remedy").is_none() && archive["disabled"].is_null());
    assert_eq!(desk["disabled"]["outcome"], "gone");
    assert!(desk["remedy"].as_str().unwrap().contains("enable desk"));
    assert_eq!(
        server.json("/readyz").await["status"],
        "ready",
        "the process does its work"
    );
}

/// A NOTIFY that does not answer costs the page a moment, not its alerts.
#[tokio::test]
async fn a_page_does_not_wait_for_notify() {
    let (board, silent) = crate::pipeline::notify::board();
    let server = start_with("", scene(), |web| web.board = Some(board)).await;
    let page = server.page("/").await;
    assert!(page.contains("id=\"alerts\"") && !page.contains("Alerts do not arrive"));
    drop(silent);
}
