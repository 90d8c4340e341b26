//! How a connection of ours is set up: codecs, repair, feedback, local addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::url::Url;
use rtc::interceptor::NackGeneratorBuilder;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8,
};
use rtc::rtp_transceiver::PayloadType;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind,
};
use rtc::shared::ifaces::ifaces;
use webrtc::error::Result;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceServer, Registry, SettingEngineBuilder, Slot, configure_nack,
    configure_rtcp_reports, configure_twcc_receiver_only,
};
use wire::{IceServer, limits};

use super::feedback::KeyFrameRequests;

/// Local addresses that become candidates; a machine with more has virtual ones.
const ADDRESSES: usize = 8;
/// How soon a missing packet is asked for again.
const NACK_EVERY: Duration = Duration::from_millis(30);
/// How often, before it is given up.
const NACKS_PER_PACKET: u16 = 8;
/// Where the key-frame requests are overheard: behind everything that acts on feedback.
const KEY_FRAME_SLOT: usize = 12_500;

/// The payload types of a first offer, those that browsers use.
const OPUS: PayloadType = 111;
const VP8: PayloadType = 96;
const VP8_RTX: PayloadType = 97;

/// Builds a connection that tells its handler what happens.
pub(super) async fn connection(
    loopback: bool,
    servers: &[IceServer],
    key_frames: KeyFrameRequests,
    handler: Arc<dyn PeerConnectionEventHandler>,
) -> Result<Arc<dyn PeerConnection>> {
    let build = async |mdns: MulticastDnsMode, key_frames: KeyFrameRequests| {
        let (media_engine, registry) = engine(key_frames)?;
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(mdns)
            .with_discard_local_candidates_during_ice_restart(true)
            .build();
        let configuration =
            RTCConfigurationBuilder::new().with_ice_servers(ice_servers(servers)).build();
        let building = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(media_engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::clone(&handler))
            .with_udp_addrs(vec![LocalAddresses { loopback }])
            .with_data_channel_send_buffer_limit(limits::DATA_CHANNEL_BUFFERED_BYTES)
            .build();
        // Boxed, because it is 20 KB large.
        Box::pin(building).await
    };
    // The port of multicast DNS may be taken; names of the local network then stay unknown.
    match build(MulticastDnsMode::QueryOnly, key_frames.clone()).await {
        Ok(connection) => Ok(Arc::new(connection)),
        Err(error) => {
            tracing::debug!(%error, "no multicast DNS for this connection");
            Ok(Arc::new(build(MulticastDnsMode::Disabled, key_frames).await?))
        }
    }
}

/// Gives a connection the newest servers, for the paths that it is about to search.
pub(super) async fn refresh(connection: &dyn PeerConnection, servers: &[IceServer]) {
    let configuration =
        RTCConfigurationBuilder::new().with_ice_servers(ice_servers(servers)).build();
    if let Err(error) = connection.set_configuration(configuration).await {
        tracing::debug!(%error, "a connection did not take the newest servers");
    }
}

/// The servers that the library understands: it refuses a whole list for one that it does not.
fn ice_servers(servers: &[IceServer]) -> Vec<RTCIceServer> {
    let known = |url: &&String| Url::parse_url(url).is_ok();
    let convert = |server: &IceServer| {
        let username = server.username.clone().unwrap_or_default();
        let credential = server.credential.clone().unwrap_or_default();
        let open = username.is_empty() || credential.is_empty();
        let usable = |url: &&String| !open || url.starts_with("stun");
        let urls: Vec<String> = server.urls.iter().filter(known).filter(usable).cloned().collect();
        (!urls.is_empty()).then_some(RTCIceServer { urls, username, credential })
    };
    servers.iter().filter_map(convert).collect()
}

fn engine(key_frames: KeyFrameRequests) -> Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    engine.register_codec(opus(), RtpCodecKind::Audio)?;
    for codec in video_codecs() {
        engine.register_codec(codec, RtpCodecKind::Video)?;
    }
    let registry = Registry::new();
    let registry = configure_nack(registry, &mut engine);
    let registry = configure_twcc_receiver_only(registry, &mut engine)?;
    let registry = configure_rtcp_reports(registry);
    let generator = NackGeneratorBuilder::new()
        .with_size(1024)
        .with_interval(NACK_EVERY)
        .with_max_nacks_per_packet(NACKS_PER_PACKET)
        .build();
    let registry = registry
        .with(Slot::NackGenerator, generator)
        .with(Slot::from(KEY_FRAME_SLOT), key_frames.interceptor());
    Ok((engine, registry))
}

/// Opus, as every browser has it.
pub(super) fn opus() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: OPUS }
}

/// VP8 with its retransmissions, under the payload types that the peer uses, if it does.
pub(super) fn vp8(
    payload_types: Option<(PayloadType, Option<PayloadType>)>,
) -> Vec<RTCRtpCodecParameters> {
    let (vp8, rtx) = payload_types.unwrap_or((VP8, Some(VP8_RTX)));
    let rtx = rtx.map(|number| retransmission(number, vp8));
    [video(MIME_TYPE_VP8, "", vp8)].into_iter().chain(rtx).collect()
}

/// What a first offer contains: VP8, and H.264 for those who have nothing else.
pub(super) fn video_codecs() -> Vec<RTCRtpCodecParameters> {
    let h264 = |profile: &str, number| {
        let line =
            format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
        [video(MIME_TYPE_H264, &line, number), retransmission(number + 1, number)]
    };
    vp8(None).into_iter().chain(h264("42e01f", 108)).chain(h264("42001f", 102)).collect()
}

fn video(mime: &str, line: &str, payload_type: PayloadType) -> RTCRtpCodecParameters {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    let rtp_codec = RTCRtpCodec {
        mime_type: mime.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: line.to_owned(),
        rtcp_feedback: vec![
            feedback("ccm", "fir"),
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("transport-cc", ""),
        ],
    };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

fn retransmission(payload_type: PayloadType, of: PayloadType) -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!("apt={of}"),
        rtcp_feedback: vec![],
    };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

/// The addresses of this computer at the moment they are asked for, which is at the beginning and
/// when new paths are searched. Loopback is among them when the server is on this computer, or
/// when there is nothing else.
struct LocalAddresses {
    loopback: bool,
}

impl ToSocketAddrs for LocalAddresses {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let interfaces = ifaces().unwrap_or_default();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in interfaces.iter().filter_map(|interface| interface.addr) {
            let address = address.ip();
            if is_useful(address) && !addresses.contains(&address) && addresses.len() < ADDRESSES {
                addresses.push(address);
            }
        }
        if self.loopback || addresses.is_empty() {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        let sockets: Vec<_> =
            addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
        Ok(sockets.into_iter())
    }
}

fn is_useful(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}
