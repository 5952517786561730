/**
 * With a codec: the texts of errors go the way of payloads. The SDK takes it as the path of a
 * CommonJS module alone.
 */
import common = require('@temporalio/common');

export = { failureConverter: new common.DefaultFailureConverter({ encodeCommonAttributes: true }) };
