//! Which renderer draws the window.
//!
//! iced takes a graphics card that is only imitated in software without complaint, and is two to
//! four times slower with it than with its own software renderer.

use iced::wgpu::{self, Backends, DeviceType, Instance, InstanceDescriptor};

/// What iced itself reads.
const VARIABLE: &str = "ICED_BACKEND";
/// iced's name of its software renderer.
const SOFTWARE: &str = "tiny-skia";

/// Chooses the software renderer where there is no true graphics card, unless the user has
/// chosen. To be called before anything else starts a thread.
pub(super) fn choose() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let devices = graphics_cards();
    if devices.iter().any(is_true_card) {
        return;
    }
    tracing::info!("no graphics card: drawing in software");
    // SAFETY: the process has only this thread of ours yet, so nobody reads the environment at
    // the same time; iced offers no other way to choose.
    unsafe { std::env::set_var(VARIABLE, SOFTWARE) };
}

fn graphics_cards() -> Vec<DeviceType> {
    let backends = Backends::from_env().unwrap_or(Backends::PRIMARY | Backends::GL);
    let instance = Instance::new(&InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty(),
        ..InstanceDescriptor::default()
    });
    let adapters = instance.enumerate_adapters(backends);
    adapters.iter().map(|adapter| adapter.get_info().device_type).collect()
}

/// `Other` is what OpenGL says of cards it knows nothing about; iced would take it only where
/// nothing else is there, and then it may be anything.
fn is_true_card(device: &DeviceType) -> bool {
    matches!(device, DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imitated_card_is_none() {
        assert!(!is_true_card(&DeviceType::Cpu) && !is_true_card(&DeviceType::Other));
        assert!(is_true_card(&DeviceType::IntegratedGpu));
    }
}
