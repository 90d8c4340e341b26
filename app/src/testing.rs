//! What the tests of the screens share: a window without a display.

use std::path::Path;
use std::time::Instant;

use iced::advanced::{clipboard, mouse};
use iced::theme::Base as _;
use iced::{Element, Event, Settings, Size, Theme, window};
use iced_test::Simulator;
use iced_test::core::renderer::{Headless as _, Style};
use iced_test::runtime::UserInterface;
use iced_test::runtime::user_interface::Cache;
use image::RgbaImage;
use net::UserId;

use crate::theme;

/// iced's software renderer.
pub const SOFTWARE: &str = "tiny-skia";
/// The graphics card, or Mesa's imitation of one.
pub const CARD: &str = "wgpu";

/// The screen under the hands of a user.
pub fn hands_on<Message>(screen: Element<'_, Message>) -> Simulator<'_, Message> {
    let settings = Settings {
        default_font: theme::REGULAR,
        fonts: theme::FONT_FILES.map(Into::into).to_vec(),
        ..Settings::default()
    };
    Simulator::with_size(settings, Size::new(1200.0, 760.0), screen)
}

/// The pixels of a screen, drawn by the given renderer.
pub fn drawn<Message>(
    screen: Element<'_, Message>,
    theme: &Theme,
    size: Size,
    scale_factor: f32,
    backend: &str,
) -> RgbaImage {
    let fonts = iced_test::renderer::graphics::text::font_system();
    for file in theme::FONT_FILES {
        fonts.write().unwrap().load_font(file.into());
    }
    let renderer = iced::Renderer::new(theme::REGULAR, 16.into(), Some(backend));
    let mut renderer = iced::futures::executor::block_on(renderer)
        .expect("wgpu needs a graphics card or Mesa's software Vulkan (mesa-vulkan-drivers)");
    let cursor = mouse::Cursor::Unavailable;
    let mut ui = UserInterface::build(screen, size, Cache::default(), &mut renderer);
    let redraw = Event::Window(window::Event::RedrawRequested(Instant::now()));
    let _ = ui.update(&[redraw], cursor, &mut renderer, &mut clipboard::Null, &mut Vec::new());
    let base = theme.base();
    ui.draw(&mut renderer, theme, &Style { text_color: base.text_color }, cursor);
    let (width, height) = ((size.width * scale_factor) as u32, (size.height * scale_factor) as u32);
    let pixels = renderer.screenshot(Size::new(width, height), scale_factor, base.background_color);
    RgbaImage::from_raw(width, height, pixels).expect("a screenshot has the size asked for")
}

/// Keeps what was drawn for people to look at, when `PRIVATE_MEET_GALLERY` names a folder.
pub fn keep(pixels: &RgbaImage, name: &str) {
    if let Some(folder) = std::env::var_os("PRIVATE_MEET_GALLERY") {
        pixels.save(Path::new(&folder).join(name).with_extension("png")).unwrap();
    }
}

/// Somebody.
pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}
