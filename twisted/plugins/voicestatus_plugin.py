from twisted.application.service import ServiceMaker

voicestatus = ServiceMaker(
    "voicestatus", "voicestatus.tap", "Discord voice presence for lamps.", "voicestatus"
)
