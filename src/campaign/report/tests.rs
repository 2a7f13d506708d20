use super::*;
use crate::campaign::figures::SentimentSums;
use crate::domain::Engagement;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn subject() -> Subject {
    Subject {
        campaign: "spring".into(),
        name: "Spring launch".into(),
        from: None,
        to: None,
        made_at: at("2026-12-01T08:00:00Z"),
    }
}

fn totals(posts: u64) -> CampaignTotals {
    CampaignTotals {
        posts,
        contributors: 3,
        potential_audience: 1_234_567,
        posts_with_impressions: posts / 2,
        impressions: 1000 * (posts / 2),
        engagements_with_impressions: 50 * (posts / 2),
        engagement: Engagement {
            likes: Some(70 * posts),
            comments: Some(posts),
            ..Engagement::default()
        },
        scored: posts,
        sums: SentimentSums {
            negative: 0.2 * posts as f64,
            neutral: 0.3 * posts as f64,
            positive: 0.5 * posts as f64,
        },
    }
}

fn figures_of(channels: [&str; 2]) -> CampaignFigures {
    let [one, other] = channels.map(str::to_owned);
    CampaignFigures {
        total: totals(100),
        channels: vec![(one.clone(), totals(75)), (other.clone(), totals(25))],
        hours: vec![
            (at("2026-11-23T09:00:00Z"), one.clone(), totals(70)),
            (at("2026-11-23T09:00:00Z"), other, totals(25)),
            (at("2026-11-23T12:00:00Z"), one, totals(5)),
        ],
    }
}

fn report() -> CampaignReport {
    CampaignReport::new(subject(), &figures_of(["forum", "blog"]))
}

#[test]
fn figures_follow_from_the_sums() {
    let report = report();
    let total = report.total;
    assert_eq!(total.share_with_impressions, Some(0.5));
    assert_eq!(total.observed_impressions, Some(50_000));
    // Not the 7,100 engagements of all posts: those without impressions stay out.
    assert_eq!(total.engagement_rate, Some(0.05));
    assert_eq!(total.engagements, Some(7100));
    assert_eq!(total.shares, None);
    let sentiment = total.sentiment.unwrap();
    assert!((sentiment.mean - 0.3).abs() < 1e-12);
    let interval = sentiment.interval.unwrap();
    // 1.96 √((0.5 + 0.2 - 0.3²) / 100)
    assert!(
        (interval.high - 0.3 - 0.153_081).abs() < 1e-6,
        "{interval:?}"
    );
    assert!(
        (interval.low - 0.3 + 0.153_081).abs() < 1e-6,
        "{interval:?}"
    );
    assert_eq!(report.channels[0].share_of_voice, 0.75);
    assert_eq!(report.channels[1].reach.sentiment.unwrap().interval, None);
    assert_eq!(report.hours.len(), 3);
}

#[test]
fn what_was_not_observed_is_not_zero() {
    let nothing = CampaignReport::new(subject(), &CampaignFigures::default());
    assert_eq!(nothing.total.observed_impressions, None);
    assert_eq!(nothing.total.engagement_rate, None);
    assert_eq!(nothing.total.share_with_impressions, None);
    assert_eq!(nothing.total.sentiment, None);
    let zero = CampaignTotals {
        posts: 2,
        posts_with_impressions: 1,
        ..CampaignTotals::default()
    };
    assert_eq!(Reach::new(&zero).observed_impressions, Some(0));
    assert_eq!(Reach::new(&zero).engagement_rate, None);
    for format in Format::ALL {
        let text = nothing.render(format);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("reach-1"), "{text}");
    }
    assert!(nothing.render(Format::Markdown).contains("no posts"));
}

#[test]
fn the_period_is_whole_hours() {
    let period = |from: Option<&str>, to: Option<&str>| {
        let mut subject = subject();
        subject.from = from.map(at);
        subject.to = to.map(at);
        let report = CampaignReport::new(subject, &figures_of(["a", "b"]));
        (report.subject.from.unwrap(), report.subject.to.unwrap())
    };
    let whole = (at("2026-11-23T09:00:00Z"), at("2026-11-23T13:00:00Z"));
    assert_eq!(period(None, None), whole);
    assert_eq!(
        period(
            Some("2026-11-23T09:59:00Z"),
            Some("2026-11-23T12:00:00.001Z")
        ),
        whole
    );
    assert_eq!(period(None, Some("2026-11-23T13:00:00Z")), whole);
}

#[test]
fn json_is_one_object_with_the_definitions() {
    let json: serde_json::Value = serde_json::from_str(&report().render(Format::Json)).unwrap();
    assert_eq!(json["campaign"], "spring");
    assert_eq!(json["from"], "2026-11-23T09:00:00.000Z");
    assert_eq!(json["total"]["posts"], 100);
    assert_eq!(json["total"]["shares"], serde_json::Value::Null);
    assert_eq!(json["channels"][1]["channel"], "blog");
    assert_eq!(json["channels"][1]["share_of_voice"], 0.25);
    assert_eq!(json["hours"][2]["posts"], 5);
    assert_eq!(json["definitions"]["version"], "reach-1");
}

#[test]
fn csv_has_a_line_for_each_and_no_formula() {
    let hostile = ["=HYPERLINK(\"http://x\",1)", "a,b\n\"c\""];
    let mut report = CampaignReport::new(subject(), &figures_of(hostile));
    report.subject.campaign = "@SUM(1)".into();
    let csv = report.render(Format::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name| headers.iter().position(|header| header == name).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    let scopes: Vec<_> = records
        .iter()
        .map(|record| &record[column("scope")])
        .collect();
    assert_eq!(
        scopes,
        ["total", "channel", "channel", "hour", "hour", "hour"]
    );
    let channel = column("channel");
    assert_eq!(&records[0][channel], "");
    assert_eq!(&records[1][channel], "'=HYPERLINK(\"http://x\",1)");
    assert_eq!(&records[2][channel], "a,b\n\"c\"");
    assert_eq!(&records[2][column("campaign")], "'@SUM(1)");
    assert_eq!(&records[2][column("share_of_voice")], "0.25");
    assert_eq!(&records[2][column("sentiment_low")], "");
    assert_eq!(&records[5][column("hour")], "2026-11-23T12:00:00.000Z");
    assert_eq!(&records[0][column("potential_audience")], "1234567");
}

#[test]
fn markdown_is_not_broken_by_what_stands_in_it() {
    let hostile = ["a|b\n| c", "[x](javascript:1)<img src=x>`"];
    let text = CampaignReport::new(subject(), &figures_of(hostile)).render(Format::Markdown);
    assert!(text.contains(r"| a\|b \| c | 75.0 % |"), "{text}");
    assert!(
        text.contains(r"\[x\]\(javascript\:1\)\<img src\=x\>\`"),
        "{text}"
    );
    let cells = |line: &str| line.replace(r"\|", "").matches('|').count();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 5 + 5);
    assert!(lines.iter().all(|line| cells(line) == 11), "{text}");
    assert!(text.contains("1,234,567") && text.contains("+0.30 (+0.15 to +0.45)"));
}

#[test]
fn the_page_escapes_everything_and_loads_nothing() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
    ];
    let mut report = CampaignReport::new(subject(), &figures_of(hostile));
    report.subject.name = "</title><script>alert(2)</script>".into();
    report.subject.campaign = "<b>".into();
    let page = report.render(Format::Html);
    for tag in ["<script", "<img", "<b>", "<link", "src=\"", "href=", "url("] {
        assert!(!page.contains(tag), "{tag} in {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    // Two hours with posts, the first with those of both channels.
    assert_eq!(page.matches("<rect").count(), 2);
    assert!(page.contains("2026-11-23 09:00: 95 posts"));
    assert!(page.contains("Posts per hour"));
}

#[test]
fn one_post_of_1970_does_not_make_the_chart_endless() {
    let mut figures = figures_of(["a", "b"]);
    figures
        .hours
        .insert(0, (Timestamp::EPOCH, "a".into(), totals(1)));
    figures
        .hours
        .push((Timestamp::from_millis(i64::MAX), "a".into(), totals(1)));
    let report = CampaignReport::new(subject(), &figures);
    assert!(chart::bars(&report).posts.len() < 10);
    assert!(report.render(Format::Html).contains("Posts per"));
}

#[test]
fn formats_are_named() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("pdf".parse::<Format>().is_err());
}

proptest! {
    #[test]
    fn bars_hold_all_posts_and_are_few(hours in prop::collection::btree_set(-30_000i64..3_000_000, 1..60)) {
        let figures = CampaignFigures {
            hours: hours
                .iter()
                .map(|hour| (Timestamp::from_millis(hour * 3_600_000), "a".to_owned(), totals(2)))
                .collect(),
            ..CampaignFigures::default()
        };
        let bars = chart::bars(&CampaignReport::new(subject(), &figures));
        prop_assert_eq!(bars.posts.values().sum::<u64>(), 2 * hours.len() as u64);
        let first = bars.posts.first_key_value().unwrap().0;
        let last = bars.posts.last_key_value().unwrap().0;
        let steps = last.since(*first).as_secs() / bars.step.as_secs() + 1;
        prop_assert!(steps <= 240, "{}", steps);
    }

    #[test]
    fn an_interval_holds_its_mean(n in 30u64..1000, negative in 0.0f64..=1.0, rest in 0.0f64..=1.0) {
        let positive = (1.0 - negative) * rest;
        let count = n as f64;
        let totals = CampaignTotals {
            scored: n,
            sums: SentimentSums {
                negative: negative * count,
                neutral: (1.0 - negative - positive) * count,
                positive: positive * count,
            },
            ..CampaignTotals::default()
        };
        let sentiment = MeanSentiment::new(&totals).unwrap();
        let interval = sentiment.interval.unwrap();
        prop_assert!(-1.0 <= interval.low && interval.low <= sentiment.mean);
        prop_assert!(sentiment.mean <= interval.high && interval.high <= 1.0);
    }
}
