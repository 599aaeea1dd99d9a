//! Plugs in the network, played by a server of this machine: their JSON, and everything that can be wrong with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wattle_boards::sensor::{self, Amount, Fault, Method, Scope, Sensor, Site};

/// What it says to each path: status and body.
type Pages = Arc<Mutex<Vec<(String, u16, String)>>>;

/// A server that is there until the end of the process.
struct Plug {
    address: String,
    pages: Pages,
    /// The last request.
    asked: Arc<Mutex<String>>,
}

impl Plug {
    fn new(pages: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let plug = Self {
            address: listener.local_addr().expect("bound").to_string(),
            pages: Arc::default(),
            asked: Arc::default(),
        };
        for (path, body) in pages {
            plug.says(path, 200, body);
        }
        let (pages, asked) = (Arc::clone(&plug.pages), Arc::clone(&plug.asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, asked) = (Arc::clone(&pages), Arc::clone(&asked));
                thread::spawn(move || serve(stream, &pages, &asked));
            }
        });
        plug
    }

    fn says(&self, path: &str, status: u16, body: &str) {
        let mut pages = self.pages.lock().expect("whole");
        pages.retain(|page| page.0 != path);
        pages.push((path.into(), status, body.into()));
    }

    fn open(&self, kind: &str, more: &str) -> Result<Box<dyn Sensor>, Fault> {
        open(
            kind,
            &format!("{}{more}", self.address),
            Some("secret-token"),
        )
    }
}

fn open(kind: &str, arg: &str, token: Option<&str>) -> Result<Box<dyn Sensor>, Fault> {
    let site = Site {
        root: "/nowhere".into(),
        mailbox: |_, _| Err(std::io::ErrorKind::Unsupported.into()),
        token: token.map(String::from),
    };
    sensor::open(&site, kind, Some(arg))
}

/// Answers one request after the other, as HTTP/1.1 does. The body `hang` is never sent.
fn serve(mut stream: TcpStream, pages: &Pages, asked: &Mutex<String>) {
    loop {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or("").to_owned();
        *asked.lock().expect("whole") = request;
        let page = pages
            .lock()
            .expect("whole")
            .iter()
            .find(|page| page.0 == path)
            .cloned();
        let (_, status, body) = page.unwrap_or((path, 404, "Not Found".into()));
        if body == "hang" {
            let _never = stream.read(&mut byte);
            return;
        }
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Words\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .is_err()
        {
            return;
        }
    }
}

/// Watts; of a counter no number, which equals nothing.
fn watts(sensor: &mut Box<dyn Sensor>) -> f64 {
    match sensor.read().expect("a reading").amount {
        Amount::Watts(w) => w,
        Amount::Joules(_) => f64::NAN,
    }
}

/// Joules; of a meter of power no number.
fn joules(sensor: &mut Box<dyn Sensor>) -> f64 {
    match sensor.read().expect("a reading").amount {
        Amount::Joules(j) => j,
        Amount::Watts(_) => f64::NAN,
    }
}

const SWITCH: &str = "/rpc/Switch.GetStatus?id=0";
const SECOND: &str = r#"{"id":"plug","model":"X","gen":2,"auth_en":false}"#;

fn switch(apower: &str, total: &str) -> String {
    format!(
        r#"{{"id":0,"output":true,"apower":{apower},"voltage":231.0,"current":0.05,"aenergy":{{"total":{total},"minute_ts":1764417600}}}}"#
    )
}

#[test]
fn a_shelly_of_the_second_generation() {
    let plug = Plug::new(&[("/shelly", SECOND), (SWITCH, &switch("11.4", "20.5"))]);
    let mut shelly = plug.open("shelly", "").expect("a plug");
    let facts = shelly.facts().clone();
    assert_eq!(
        (facts.scope, facts.method, facts.external),
        (Scope::WallAc, Method::Integrated, true)
    );
    assert_eq!(facts.resolution, Some(0.1));
    assert_eq!(watts(&mut shelly), 11.4);
    for lie in ["-3", "1e9", "null", "\"much\""] {
        plug.says(SWITCH, 200, &switch(lie, "1"));
        assert!(matches!(shelly.read(), Err(Fault::Nonsense(_))), "{lie}");
    }
    for (status, body) in [(200, "<html>"), (200, ""), (200, "{")] {
        plug.says(SWITCH, status, body);
        assert!(matches!(shelly.read(), Err(Fault::Nonsense(_))), "{body:?}");
    }
    plug.says(SWITCH, 500, "{}");
    assert!(matches!(shelly.read(), Err(Fault::Silent(_))));
    plug.says(SWITCH, 200, &switch("5", "1"));
    assert_eq!(watts(&mut shelly), 5.0, "it recovers");
}

#[test]
fn the_total_of_a_shelly_may_begin_anew() {
    let plug = Plug::new(&[("/shelly", SECOND), (SWITCH, &switch("1", "20.500"))]);
    let mut shelly = plug.open("shelly", ",counter").expect("a plug");
    assert_eq!(shelly.facts().method, Method::Counter);
    assert_eq!(shelly.facts().resolution, Some(3.6));
    plug.says(SWITCH, 200, &switch("1", "20.510"));
    assert!((joules(&mut shelly) - 36.0).abs() < 1e-9);
    plug.says(SWITCH, 200, &switch("1", "0.001"));
    assert_eq!(shelly.read(), Err(Fault::Reset));
    plug.says(SWITCH, 200, &switch("1", "0.002"));
    assert!((joules(&mut shelly) - 39.6).abs() < 1e-9);
}

#[test]
fn parts_that_only_meter() {
    let plug = Plug::new(&[
        ("/shelly", SECOND),
        ("/rpc/EM1.GetStatus?id=0", r#"{"id":0,"act_power":7.25}"#),
    ]);
    assert_eq!(watts(&mut plug.open("shelly", "").expect("a meter")), 7.25);
    let fault = plug.open("shelly", ",counter").expect_err("no total");
    assert!(matches!(fault, Fault::Usage(_)), "{fault}");
    let none = Plug::new(&[("/shelly", SECOND)]);
    assert!(matches!(none.open("shelly", ""), Err(Fault::Absent(_))));
}

#[test]
fn a_shelly_of_the_first_generation() {
    let status = |power: &str, valid: bool, total: u32| {
        format!(
            r#"{{"meters":[{{"power":{power},"overpower":0,"is_valid":{valid},"timestamp":1,"counters":[1,2,3],"total":{total}}}]}}"#
        )
    };
    let about = r#"{"type":"SHPLG-S","mac":"0","auth":false}"#;
    let plug = Plug::new(&[("/shelly", about), ("/status", &status("9.87", true, 10))]);
    let mut shelly = plug.open("shelly", "").expect("a plug");
    assert!(shelly.facts().source.contains("generation 1"));
    assert_eq!(watts(&mut shelly), 9.87);
    let mut total = plug.open("shelly", ",counter").expect("a plug");
    plug.says("/status", 200, &status("9.87", true, 12));
    assert_eq!(joules(&mut total), 120.0);
    plug.says("/status", 200, &status("9.87", false, 12));
    let fault = shelly.read().expect_err("it says so itself");
    assert!(fault.to_string().contains("not valid"), "{fault}");
}

#[test]
fn a_plug_that_wants_a_login_is_refused_with_the_way_out() {
    let plug = Plug::new(&[("/shelly", SECOND)]);
    plug.says(SWITCH, 401, "");
    let text = plug.open("shelly", "").expect_err("locked").to_string();
    assert!(
        text.contains("--power-cmd") && text.contains("password"),
        "{text}"
    );
    let tasmota = Plug::new(&[(
        "/cm?cmnd=Status%208",
        r#"{"WARNING":"Need user=<username>&password=<password>"}"#,
    )]);
    let text = tasmota.open("tasmota", "").expect_err("locked").to_string();
    assert!(text.contains("password"), "{text}");
}

#[test]
fn a_plug_that_hangs_or_is_not_there_is_silent() {
    let plug = Plug::new(&[("/shelly", SECOND), (SWITCH, &switch("1", "1"))]);
    let mut shelly = plug.open("shelly", "").expect("a plug");
    plug.says(SWITCH, 200, "hang");
    let fault = shelly.read().expect_err("no answer");
    assert!(matches!(fault, Fault::Silent(_)), "{fault}");
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound")
        .port();
    let fault = open("shelly", &format!("127.0.0.1:{port}"), None).expect_err("nobody there");
    assert!(matches!(fault, Fault::Silent(_)), "{fault}");
}

#[test]
fn an_answer_without_end_is_cut() {
    let long = format!("[{}1]", "1,".repeat(100_000));
    let plug = Plug::new(&[("/shelly", &long)]);
    plug.open("shelly", "").expect_err("too much");
}

#[test]
fn tasmota_tells_a_number_or_a_list() {
    let path = "/cm?cmnd=Status%208";
    let status = |power: &str| {
        format!(
            r#"{{"StatusSNS":{{"Time":"2026-11-29T12:00:00","ENERGY":{{"Total":1.234,"Power":{power},"Factor":0.5,"Voltage":230}}}}}}"#
        )
    };
    let plug = Plug::new(&[(path, &status("12"))]);
    let mut tasmota = plug.open("tasmota", "").expect("a plug");
    assert_eq!(watts(&mut tasmota), 12.0);
    plug.says(path, 200, &status("[7]"));
    assert_eq!(watts(&mut tasmota), 7.0);
    plug.says(path, 200, &status("[7,5.5]"));
    let fault = tasmota.read().expect_err("which?");
    assert!(fault.to_string().contains("2 channels"), "{fault}");
    assert_eq!(
        watts(&mut plug.open("tasmota", ",2").expect("a channel")),
        5.5
    );
    assert!(matches!(
        plug.open("tasmota", ",3"),
        Err(Fault::Nonsense(_))
    ));
    assert!(matches!(plug.open("tasmota", ",0"), Err(Fault::Usage(_))));
    // Newer firmware answers another number.
    let newer = Plug::new(&[
        (path, r#"{"Status":{}}"#),
        ("/cm?cmnd=Status%2010", &status("3")),
    ]);
    assert_eq!(watts(&mut newer.open("tasmota", "").expect("a plug")), 3.0);
}

#[test]
fn home_assistant_has_a_token_and_units() {
    let path = "/api/states/sensor.plug_power";
    let state = |state: &str, unit: &str| {
        format!(
            r#"{{"entity_id":"sensor.plug_power","state":"{state}","attributes":{{"unit_of_measurement":"{unit}"}}}}"#
        )
    };
    let server = Plug::new(&[(path, &state("0.0125", "kW"))]);
    let arg = format!("http://{}/,sensor.plug_power", server.address);
    let mut ha = open("ha", &arg, Some("secret-token")).expect("an entity");
    assert_eq!(watts(&mut ha), 12.5);
    let asked = server.asked.lock().expect("whole").to_lowercase();
    assert!(
        asked.contains("authorization: bearer secret-token"),
        "{asked}"
    );
    assert!(!format!("{ha:?}").contains("secret"), "{ha:?}");
    server.says(path, 200, &state("unavailable", "W"));
    assert!(matches!(ha.read(), Err(Fault::Silent(_))));
    server.says(path, 200, &state("12", "kWh"));
    assert!(matches!(ha.read(), Err(Fault::Usage(_))));
    server.says(path, 401, "401: Unauthorized");
    let text = ha.read().expect_err("another token").to_string();
    assert!(text.contains("token") && !text.contains("secret"), "{text}");
    server.says(path, 404, "{}");
    assert!(matches!(ha.read(), Err(Fault::Absent(_))));
    let text = open("ha", &arg, None).expect_err("no token").to_string();
    assert!(text.contains("HASS_TOKEN"), "{text}");
}

#[test]
fn addresses_are_checked() {
    for (kind, arg) in [
        ("shelly", ""),
        ("shelly", "host/path"),
        ("shelly", "user:secret@host"),
        ("shelly", "host,total"),
        ("tasmota", "a b"),
        ("tasmota", "host,x"),
        ("ha", "http://host"),
        ("ha", "host,sensor.x"),
        ("ha", "https://host,sensor.x"),
        ("ha", "http://host,sensor/../x"),
    ] {
        let fault = open(kind, arg, Some("t")).expect_err(arg);
        assert!(matches!(fault, Fault::Usage(_)), "{kind}={arg}: {fault}");
    }
}
