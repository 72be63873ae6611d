//! Message type bytes (PostgreSQL documentation, 55.7). Where one byte means different things in
//! the two directions the name says which message is meant.

/// Backend: Authentication*.
pub const AUTHENTICATION: u8 = b'R';
/// Backend: BackendKeyData.
pub const BACKEND_KEY_DATA: u8 = b'K';
/// Frontend: Bind.
pub const BIND: u8 = b'B';
/// Backend: BindComplete.
pub const BIND_COMPLETE: u8 = b'2';
/// Frontend: Close.
pub const CLOSE: u8 = b'C';
/// Backend: CloseComplete.
pub const CLOSE_COMPLETE: u8 = b'3';
/// Backend: CommandComplete.
pub const COMMAND_COMPLETE: u8 = b'C';
/// Backend: CopyBothResponse (replication only).
pub const COPY_BOTH_RESPONSE: u8 = b'W';
/// Both: CopyData.
pub const COPY_DATA: u8 = b'd';
/// Both: CopyDone.
pub const COPY_DONE: u8 = b'c';
/// Frontend: CopyFail.
pub const COPY_FAIL: u8 = b'f';
/// Backend: CopyInResponse.
pub const COPY_IN_RESPONSE: u8 = b'G';
/// Backend: CopyOutResponse.
pub const COPY_OUT_RESPONSE: u8 = b'H';
/// Backend: DataRow.
pub const DATA_ROW: u8 = b'D';
/// Frontend: Describe.
pub const DESCRIBE: u8 = b'D';
/// Backend: EmptyQueryResponse.
pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
/// Backend: ErrorResponse.
pub const ERROR_RESPONSE: u8 = b'E';
/// Frontend: Execute.
pub const EXECUTE: u8 = b'E';
/// Frontend: Flush.
pub const FLUSH: u8 = b'H';
/// Frontend: FunctionCall.
pub const FUNCTION_CALL: u8 = b'F';
/// Backend: FunctionCallResponse.
pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
/// Backend: NegotiateProtocolVersion.
pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
/// Backend: NoData.
pub const NO_DATA: u8 = b'n';
/// Backend: NoticeResponse.
pub const NOTICE_RESPONSE: u8 = b'N';
/// Backend: NotificationResponse.
pub const NOTIFICATION_RESPONSE: u8 = b'A';
/// Backend: ParameterDescription.
pub const PARAMETER_DESCRIPTION: u8 = b't';
/// Backend: ParameterStatus.
pub const PARAMETER_STATUS: u8 = b'S';
/// Frontend: Parse.
pub const PARSE: u8 = b'P';
/// Backend: ParseComplete.
pub const PARSE_COMPLETE: u8 = b'1';
/// Frontend: PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse.
pub const PASSWORD: u8 = b'p';
/// Backend: PortalSuspended.
pub const PORTAL_SUSPENDED: u8 = b's';
/// Frontend: Query.
pub const QUERY: u8 = b'Q';
/// Backend: ReadyForQuery.
pub const READY_FOR_QUERY: u8 = b'Z';
/// Backend: RowDescription.
pub const ROW_DESCRIPTION: u8 = b'T';
/// Frontend: Sync.
pub const SYNC: u8 = b'S';
/// Frontend: Terminate.
pub const TERMINATE: u8 = b'X';
