//! SCRAM against RFC 7677's vector, against postgres-protocol, against itself, against liars.

use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::*;
use crate::units::Secret;

const RFC_SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

fn rounds(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::derive(password, b"0123456789abcdef", rounds(16))
}

fn unbound(plain: bool, plus: bool) -> Offer<'static> {
    Offer { plain, plus, end_point: None, require_binding: false }
}

/// RFC 7677 §3, with its user name put where ours would have none.
#[test]
fn the_server_side_reproduces_rfc_7677() {
    let salt = STANDARD.decode(RFC_SALT).expect("base64");
    let verifier = ScramVerifier::derive("pencil", &salt, rounds(4_096));
    let (first, awaited) = ScramServer::new(Binding::Unavailable)
        .client_first_with(
            SCRAM_SHA_256,
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            &Candidate::Known(&verifier),
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        .expect("first");
    assert_eq!(
        String::from_utf8(first).expect("text"),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = awaited
        .client_final(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .expect("the RFC's proof");
    assert_eq!(
        String::from_utf8(last).expect("text"),
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
}

/// The RFC's client names a user, libpq's and ours does not, so the proof differs from the RFC's
/// print; what is checked is that our client is right by the server the vector has just proven.
#[test]
fn the_client_side_agrees_with_the_server_of_the_rfc() {
    let salt = STANDARD.decode(RFC_SALT).expect("base64");
    let verifier = ScramVerifier::derive("pencil", &salt, rounds(4_096));
    let client =
        ScramClient::with_nonce(&unbound(true, false), "rOprNGfwEbeRWgbNEkqO".into()).expect("on");
    assert_eq!(client.first(), b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    let (first, awaited) = ScramServer::new(Binding::Unavailable)
        .client_first(client.mechanism(), &client.first(), &Candidate::Known(&verifier))
        .expect("first");
    let challenge = client.server_first(&first).expect("challenge");
    assert_eq!((challenge.salt(), challenge.iterations()), (&*salt, rounds(4_096)));
    let keys = ScramKeys::derive("pencil", challenge.salt(), challenge.iterations());
    let (last, expected) = challenge.answer(&keys);
    expected.server_final(&awaited.client_final(&last).expect("proof")).expect("signature");
}

#[test]
fn verifiers_round_trip_and_match_postgresql() {
    let ours = verifier("pässword");
    let text = ours.to_string();
    assert_eq!(ScramVerifier::parse(&text).expect("own format").to_string(), text);
    // postgres-protocol makes what PostgreSQL's own `\password` makes.
    let theirs = postgres_protocol::password::scram_sha_256("secret".as_bytes());
    let parsed = ScramVerifier::parse(&theirs).expect("their format");
    let again = ScramVerifier::derive("secret", &parsed.salt, parsed.iterations);
    assert_eq!(again.to_string(), theirs);
    for bad in [
        "",
        "md5abc",
        "SCRAM-SHA-256$0:AA==$AA==:AA==",
        "SCRAM-SHA-256$4096:AA==$AA==:AA==",
        "SCRAM-SHA-256$99999999999:AA==$AA==:AA==",
        "SCRAM-SHA-256$+16:AA==$AA==:AA==",
    ] {
        assert!(ScramVerifier::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(format!("{ours:?}"), "ScramVerifier(***)");
}

fn login_of_their_client(
    binding: Binding,
    client_binding: ChannelBinding,
    mechanism: &str,
    (verifier, password): (&ScramVerifier, &str),
) -> Result<(), ScramError> {
    let mut client = ScramSha256::new(password.as_bytes(), client_binding);
    let (first, awaited) = ScramServer::new(binding).client_first(
        mechanism,
        client.message(),
        &Candidate::Known(verifier),
    )?;
    client.update(&first).expect("their client reads our challenge");
    let last = awaited.client_final(client.message())?;
    client.finish(&last).expect("their client accepts our signature");
    Ok(())
}

#[test]
fn postgres_protocols_client_logs_in_with_and_without_binding() {
    let verifier = verifier("hunter2");
    let digest: Arc<[u8]> = Arc::from(&[7_u8; 32][..]);
    let good = (&verifier, "hunter2");
    let plain = login_of_their_client(
        Binding::Unavailable,
        ChannelBinding::unsupported(),
        SCRAM_SHA_256,
        good,
    );
    plain.expect("plain");
    let plus = login_of_their_client(
        Binding::EndPoint(digest.clone()),
        ChannelBinding::tls_server_end_point(digest.to_vec()),
        SCRAM_SHA_256_PLUS,
        good,
    );
    plus.expect("plus");
    let wrong = login_of_their_client(
        Binding::Unavailable,
        ChannelBinding::unsupported(),
        SCRAM_SHA_256,
        (&verifier, "hunter3"),
    );
    assert_eq!(wrong, Err(ScramError::Proof));
    // A man in the middle has another certificate.
    let relayed = login_of_their_client(
        Binding::EndPoint(digest.clone()),
        ChannelBinding::tls_server_end_point(vec![8; 32]),
        SCRAM_SHA_256_PLUS,
        good,
    );
    assert!(matches!(relayed, Err(ScramError::Binding(_))), "{relayed:?}");
}

#[test]
fn every_mismatch_of_flag_and_mechanism_is_refused() {
    let digest: Arc<[u8]> = Arc::from(&[7_u8; 32][..]);
    let verifier = verifier("x");
    let tls = || Binding::EndPoint(digest.clone());
    let try_first = |binding, mechanism, flag: &str| {
        ScramServer::new(binding)
            .client_first(
                mechanism,
                format!("{flag},,n=,r=abc").as_bytes(),
                &Candidate::Known(&verifier),
            )
            .map(|_| ())
    };
    assert!(try_first(tls(), SCRAM_SHA_256, "n").is_ok(), "an old client may stay unbound");
    assert!(try_first(Binding::Unavailable, SCRAM_SHA_256, "y").is_ok());
    // Downgrade: we offered -PLUS and the client says it saw no such offer.
    assert!(try_first(tls(), SCRAM_SHA_256, "y").is_err());
    assert!(try_first(tls(), SCRAM_SHA_256, "p=tls-server-end-point").is_err());
    assert!(try_first(tls(), SCRAM_SHA_256_PLUS, "n").is_err());
    assert!(try_first(tls(), SCRAM_SHA_256_PLUS, "y").is_err());
    assert!(try_first(tls(), SCRAM_SHA_256_PLUS, "p=tls-unique").is_err());
    assert!(try_first(Binding::Unavailable, SCRAM_SHA_256_PLUS, "p=tls-server-end-point").is_err());
    assert!(try_first(tls(), "PLAIN", "n").is_err());
}

#[test]
fn malformed_messages_are_errors_and_never_panics() {
    let verifier = verifier("x");
    let long = format!("n,,n=,r={}", "a".repeat(1_100));
    let bad: [&[u8]; 13] = [
        b"",
        b"n",
        b"n,,",
        b"n,,n=",
        b"n,,n=,r=",
        b"n,,r=abc,n=",
        b"n,a=admin,n=,r=abc",
        b"n,,m=x,n=,r=abc",
        b"z,,n=,r=abc",
        b"n,,n=,r=a\x7fb",
        b"n,,n=,r=\xff",
        b"n,,n=\0,r=abc",
        long.as_bytes(),
    ];
    for message in bad {
        let result = ScramServer::new(Binding::Unavailable).client_first(
            SCRAM_SHA_256,
            message,
            &Candidate::Known(&verifier),
        );
        assert!(result.is_err(), "{}", String::from_utf8_lossy(message));
    }
    let proof = STANDARD.encode([0_u8; 32]);
    for last in [
        String::new(),
        "c=biws".into(),
        format!("c=biws,r=abcNONCE,p={proof}A"),
        format!("c=biws,r=abcNONCE,p={}", STANDARD.encode([0_u8; 33])),
        format!("c=biws,r=abc,p={proof}"),
        format!("c=eSws,r=abcNONCE,p={proof}"),
        format!("c=!!!!,r=abcNONCE,p={proof}"),
        format!("r=abcNONCE,c=biws,p={proof}"),
        format!("c=biws,r=abcNONCE,p={proof}"),
    ] {
        let (_, awaited) = ScramServer::new(Binding::Unavailable)
            .client_first_with(SCRAM_SHA_256, b"n,,n=,r=abc", &Candidate::Known(&verifier), "NONCE")
            .expect("first");
        assert!(awaited.client_final(last.as_bytes()).is_err(), "{last}");
    }
}

#[test]
fn the_client_distrusts_the_server() {
    let client = || ScramClient::with_nonce(&unbound(true, false), "abc".into()).expect("on");
    for bad in [
        "r=abc,s=QUJD,i=4096",
        "r=xyzabc,s=QUJD,i=4096",
        "r=abcd,s=QUJD,i=100001",
        "r=abcd,s=QUJD,i=0",
        "r=abcd,s=QUJD,i=-1",
        "r=abcd,s=QUJD,i=4294967296",
        "r=abcd,s=,i=4096",
        "r=abcd,s=QUJD,i=4096,x=y",
        "m=ext,r=abcd,s=QUJD,i=4096",
        "e=other-error",
        "",
    ] {
        assert!(client().server_first(bad.as_bytes()).is_err(), "{bad}");
    }
    let keys = ScramKeys::derive("x", b"ABC", rounds(2));
    let awaited = || client().server_first(b"r=abcd,s=QUJD,i=2").expect("ok").answer(&keys).1;
    assert_eq!(awaited().server_final(b"e=invalid-proof"), Err(ScramError::Refused));
    let forged = format!("v={}", STANDARD.encode([1_u8; 32]));
    assert_eq!(awaited().server_final(forged.as_bytes()), Err(ScramError::Proof));
    assert!(awaited().server_final(b"v=").is_err());
}

#[test]
fn the_client_binds_when_it_can_and_insists_when_told() {
    let digest = [9_u8; 32];
    let offer = |plain, plus, tls: bool, require_binding| {
        let end_point = tls.then_some(&digest[..]);
        ScramClient::new(&Offer { plain, plus, end_point, require_binding })
    };
    let mechanism = |client: Result<ScramClient, ScramError>| client.map(|c| c.mechanism());
    assert_eq!(mechanism(offer(true, true, true, false)), Ok(SCRAM_SHA_256_PLUS));
    assert_eq!(mechanism(offer(true, true, false, false)), Ok(SCRAM_SHA_256));
    assert_eq!(mechanism(offer(false, true, false, false)), Err(ScramError::Mechanism));
    assert_eq!(mechanism(offer(false, false, true, false)), Err(ScramError::Mechanism));
    assert_eq!(mechanism(offer(true, false, true, true)), Err(ScramError::BindingRequired));
    let could = offer(true, false, true, false).expect("on");
    assert!(could.first().starts_with(b"y,,"), "says that it could have bound");
    // And the bound exchange works against our own server.
    let verifier = verifier("pw");
    let client = offer(true, true, true, true).expect("on");
    let server = ScramServer::new(Binding::EndPoint(Arc::from(&digest[..])));
    let candidate = Candidate::Known(&verifier);
    let (first, awaited) =
        server.client_first(client.mechanism(), &client.first(), &candidate).expect("first");
    let challenge = client.server_first(&first).expect("challenge");
    let keys = ScramKeys::derive("pw", challenge.salt(), challenge.iterations());
    let (last, expected) = challenge.answer(&keys);
    expected.server_final(&awaited.client_final(&last).expect("proof")).expect("signature");
}

#[test]
fn an_unknown_id_looks_like_a_known_one() {
    let mock = MockSecret::from_shared(b"process secret");
    let ask = |id: &str| {
        let (first, awaited) = ScramServer::new(Binding::Unavailable)
            .client_first_with(
                SCRAM_SHA_256,
                b"n,,n=,r=abc",
                &Candidate::Unknown { mock: &mock, id },
                "N",
            )
            .expect("an unknown id is challenged too");
        let last = format!("c=biws,r=abcN,p={}", STANDARD.encode([0_u8; 32]));
        assert_eq!(awaited.client_final(last.as_bytes()), Err(ScramError::Proof));
        String::from_utf8(first).expect("text")
    };
    assert_eq!(ask("key_a"), ask("key_a"), "the same id, the same salt");
    assert_ne!(ask("key_a"), ask("key_b"));
    let real = ScramVerifier::make("secret", ITERATIONS).expect("random");
    let (known, _) = ScramServer::new(Binding::Unavailable)
        .client_first_with(SCRAM_SHA_256, b"n,,n=,r=abc", &Candidate::Known(&real), "N")
        .expect("first");
    let shape = |text: &str| (text.len(), text.rsplit(',').next().map(str::to_owned));
    assert_eq!(shape(&ask("key_a")), shape(&String::from_utf8(known).expect("text")));
}

#[test]
fn the_mock_is_not_a_verifier_of_its_own_keys() {
    // Even a prober who computed a matching proof for the mock must fail: `known` decides.
    let mock = MockSecret::from_shared(b"s");
    let fake = mock.verifier("id");
    assert_ne!(fake.stored_key, fake.server_key);
    assert_eq!(fake.iterations, ITERATIONS);
}

#[test]
fn keys_are_derived_once() {
    let cache = KeyCache::new(10).expect("random");
    let password = Secret::from("pw");
    assert!(cache.known(&password, b"salt", rounds(3)).is_none());
    let keys = cache.derive(&password, b"salt", rounds(3));
    let again = cache.known(&password, b"salt", rounds(3)).expect("kept");
    assert!(Arc::ptr_eq(&keys, &again));
    assert!(cache.known(&password, b"salt", rounds(4)).is_none());
    assert!(cache.known(&Secret::from("pw2"), b"salt", rounds(3)).is_none());
}
